"""The module's dependencies: Python 3.9, numpy, requests, SimpleITK; Slicer and Qt only in some files."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "slicer_module"
LIBRARY = MODULE / "FetalIQA" / "FetalIQALib"
FILES = sorted(MODULE.rglob("*.py"))
KNOW_SLICER = {
    "click_tool",
    "ellipse_tool",
    "image_sequence",
    "line_tool",
    "mask_overlay",
    "point_tool",
    "quality_plot",
    "sequence_nodes",
    "slicer_app",
}
KNOW_QT = {"qt_helpers", "main_panel", "playback", "interactive_panel", "send_panel"}
MAX_LINES = 400


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_python_3_9_and_short(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    assert len(text.splitlines()) < MAX_LINES
    assert not [node for node in ast.walk(tree) if type(node).__name__ in ("Match", "TryStar")]
    assert not imported(path) & {"torch", "fetaliqa", "monai", "monailabel", "scipy", "cv2", "tomllib", "pandas"}


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.py")), ids=lambda path: path.name)
def test_slicer_and_qt_stay_in_their_files(path: Path) -> None:
    if path.stem not in KNOW_SLICER:
        assert not imported(path) & {"slicer", "vtk", "mrml"}
    if path.stem not in KNOW_QT:
        assert not imported(path) & {"qt", "ctk", "PySide6"}


def test_the_workspace_loads_without_slicer_and_qt_and_fast() -> None:
    program = (
        "import sys; import FetalIQALib.workspace; "
        "sys.exit(any(name in sys.modules for name in ('slicer', 'vtk', 'qt', 'PySide6', 'torch', 'SimpleITK')))"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=LIBRARY.parent, timeout=60, check=False).returncode
        == 0
    )
