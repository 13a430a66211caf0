"""The wheel: what is installed anywhere scores with the model that ships, and has the server."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import tomllib

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs; its dependencies are those of this environment."""
    root = tmp_path_factory.mktemp("wheel")
    source = root / "source"
    leave = shutil.ignore_patterns("__pycache__", "logs", "model")
    for name in ("fetaliqa", "monailabel_app"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=leave if name == "monailabel_app" else None)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    subprocess.run(
        [sys.executable, "-c", BUILD, str(root)], cwd=source, check=True, capture_output=True, timeout=120
    )
    with zipfile.ZipFile(next(root.glob("*.whl"))) as wheel:
        wheel.extractall(root / "site")
    return root / "site"


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fetaliqa", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_wheel_scores_with_the_model_that_ships(installed: Path, tmp_path: Path, sample_data: Path) -> None:
    case = sorted((sample_data / "images" / "stacked_fetal_ultrasound").glob("*.mha"))[0]
    done = run(installed, tmp_path, "best", str(case), "--json", "--quiet")
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["case"] == case.stem


def test_the_wheel_has_the_server(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "serve", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "there is no such folder" in done.stderr


def test_the_wheel_says_that_it_is_typed(installed: Path) -> None:
    assert (installed / "fetaliqa" / "py.typed").is_file()
    assert (installed / "fetaliqa" / "__init__.pyi").is_file()


def test_every_data_file_of_the_package_is_in_the_wheel(installed: Path) -> None:
    missing = [
        str(path.relative_to(REPOSITORY))
        for name in ("fetaliqa", "monailabel_app")
        for path in (REPOSITORY / name).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.relative_to(REPOSITORY).parts[:2] not in {("monailabel_app", "logs"), ("monailabel_app", "model")}
        and path.name != ".gitignore"
        and not (installed / path.relative_to(REPOSITORY)).is_file()
    ]
    assert missing == []


def test_what_the_library_imports_is_declared() -> None:
    """Imports inside functions are left out: optional packages are imported there, after asking for them."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    declared = {_name(text) for group in (project["dependencies"], *extras) for text in group}
    providers = packages_distributions()
    undeclared = {
        module: file.name
        for file in sorted((REPOSITORY / "fetaliqa").rglob("*.py"))
        for module in _imported(file)
        if module not in sys.stdlib_module_names
        and module not in ("fetaliqa", "monailabel_app")
        and not declared.intersection(map(_name, providers.get(module, [])))
    }
    assert undeclared == {}


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-").replace(".", "-")


def _imported(file: Path) -> set[str]:
    """Top-level packages that a module imports when it is imported."""
    imports = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            imports |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imports.add(node.module.partition(".")[0])
    return imports
