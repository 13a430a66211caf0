"""The examples in docstrings and on the page of the Python API run and print what they show."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import os
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
MODULES = (
    "fetaliqa.case_names",
    "fetaliqa.evaluation.frame_metrics",
    "fetaliqa.evaluation.line_figures",
    "fetaliqa.evaluation.ranking_metrics",
    "fetaliqa.evaluation.score_calibration",
    "fetaliqa.inference.interactive_segmentation",
    "fetaliqa.labels.case_labels",
    "fetaliqa.labels.frame_record",
    "fetaliqa.evaluation.interval_calibration",
    "fetaliqa.measure.border_band",
    "fetaliqa.measure.case_growth",
    "fetaliqa.measure.case_measurement",
    "fetaliqa.measure.circumference_interval",
    "fetaliqa.measure.ellipse",
    "fetaliqa.measure.fetal_growth",
    "fetaliqa.measure.frame_ranking",
    "fetaliqa.measure.frame_size",
    "fetaliqa.measure.head_axes",
    "fetaliqa.measure.line",
    "fetaliqa.measure.run_lengths",
    "fetaliqa.measure.square_grid",
    "fetaliqa.registry.loaded_model",
    "fetaliqa.registry.recent_values",
    "fetaliqa.retraining.gate_pictures",
    "fetaliqa.sweep.masks",
    "fetaliqa.sweep.sweep_ranges",
    "fetaliqa.sweep.sweep_reader",
    "fetaliqa.sweep.sweep_types",
)
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a folder in which the sample data lie, as in the root of the repository."""
    (tmp_path / "sample-data").symlink_to(REPOSITORY / "sample-data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))  # no models of whoever runs the tests
    return tmp_path


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str, workplace: Path) -> None:
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_every_module_with_examples_is_tested() -> None:
    with_examples = {
        ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)
        for file in (REPOSITORY / "fetaliqa").rglob("*.py")
        if ">>> " in file.read_text(encoding="utf-8")
    }
    assert with_examples == set(MODULES)


def test_the_page_of_the_python_api_runs_as_one_program(workplace: Path) -> None:
    blocks = BLOCK.findall((REPOSITORY / "docs" / "python-api.md").read_text(encoding="utf-8"))
    assert [kind for kind, _ in blocks] == ["python", "text"] * (len(blocks) // 2)
    names: dict[str, object] = {}
    for (_, code), (_, shown) in zip(blocks[::2], blocks[1::2]):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "docs/python-api.md", "exec"), names)
        assert printed.getvalue() == shown
    assert sorted(os.listdir(workplace)) == ["best.png", "masks.nii.gz", "sample-data"]


def test_the_python_in_the_readme_runs(workplace: Path) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    programs = [code for kind, code in BLOCK.findall(text) if kind == "python"]
    assert programs
    for code in programs:
        exec(compile(code, "README.md", "exec"), {})


def test_the_page_of_interactive_segmentation_runs(workplace: Path) -> None:
    (_, code), (_, shown) = BLOCK.findall((REPOSITORY / "docs" / "interactive.md").read_text(encoding="utf-8"))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "docs/interactive.md", "exec"), {})
    assert printed.getvalue() == shown
