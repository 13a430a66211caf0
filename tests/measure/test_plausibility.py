"""A circumference that should not be used without a look carries its warning, wherever it is shown."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
import SimpleITK

from fetaliqa.measure import fit_outline
from fetaliqa.measure.anatomy import ABDOMEN
from fetaliqa.measure.plausibility import add_warnings

RANGES = ((0, 40), (40, 80), (80, 120))


def warnings_of(told: dict[int, tuple[float, float]]) -> dict[int, str | None]:
    """Warnings by frame, from (circumference in mm, quality) by frame."""
    fields = {frame: {"circumference_mm": size, "warning": None} for frame, (size, _) in told.items()}
    quality, positive = np.zeros(120), np.zeros(120, bool)
    for frame, (_, value) in told.items():
        quality[frame], positive[frame] = value, True
    add_warnings(fields, quality, positive, RANGES, ABDOMEN)
    return {frame: found["warning"] for frame, found in fields.items()}


def test_frames_that_agree_carry_no_warning():
    warnings = warnings_of({20: (263.0, 0.95), 21: (255.0, 0.94), 60: (240.0, 0.9), 100: (280.0, 0.92)})
    assert set(warnings.values()) == {None}


def test_an_implausible_answer_of_low_quality_carries_a_warning():
    """As of a phantom whose abdomen of 263 mm was measured as 137.8 mm at quality 0.66."""
    assert "quality 0.66 is low" in warnings_of({20: (137.8, 0.66)})[20]


def test_one_that_disagrees_with_the_case_s_best_frames_carries_a_warning_and_they_do_not():
    warnings = warnings_of({20: (263.0, 0.95), 60: (137.8, 0.9), 100: (258.0, 0.92)})
    assert "AC 138 mm disagrees with the 258 mm of the case's best frames" in warnings[60]
    assert warnings[20] is None
    assert warnings[100] is None


def test_of_two_that_disagree_both_carry_a_warning():
    warnings = warnings_of({20: (263.0, 0.95), 60: (137.8, 0.9)})
    assert "disagrees with the 138 mm" in warnings[20]
    assert "disagrees with the 263 mm" in warnings[60]


def test_frames_of_low_quality_speak_against_no_other():
    assert warnings_of({20: (263.0, 0.95), 60: (137.8, 0.66)})[20] is None


def test_what_was_said_before_stays():
    fields = {5: {"circumference_mm": 500.0, "warning": "AC 500 mm is outside"}}
    add_warnings(fields, np.full(40, 0.3), np.ones(40, bool), ((0, 40),), ABDOMEN)
    assert fields[5]["warning"] == "AC 500 mm is outside; quality 0.30 is low; check that the outline is right"


def test_an_outline_far_from_its_ellipse_carries_a_warning():
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    wavy, smooth = (
        np.stack([200 + (100 + depth * np.cos(6 * turn)) * f(turn) for f in (np.cos, np.sin)], axis=1)
        for depth in (25, 0)
    )
    for points, sentence in ((wavy, "of its radius from the fitted ellipse"), (smooth, None)):
        mask = np.zeros((400, 400), np.uint8)
        cv2.fillPoly(mask, [np.round(points).astype(np.int32)], [1.0])
        warning = fit_outline(mask, (0.4, 0.4)).warning(ABDOMEN)
        assert warning is None if sentence is None else sentence in warning


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory, sample_data):
    """A sample case whose pixels are said to be ten times as large."""
    folder = tmp_path_factory.mktemp("doubtful") / "images"
    folder.mkdir()
    (path, *_) = sorted((sample_data / "images" / "stacked_fetal_ultrasound").glob("*.mha"))
    image = SimpleITK.ReadImage(str(path))
    image.SetSpacing((5.6, 5.6, 1.0))
    SimpleITK.WriteImage(image, str(folder / "huge.mha"), useCompression=True)
    return folder


def test_the_warning_is_there_wherever_the_circumference_is_shown(doubtful, tmp_path, capsys, monkeypatch):
    from fetaliqa.cli.main import main

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sentence = "is outside the plausible"
    case = str(doubtful / "huge.mha")
    assert main(["score", case, "--quiet", "--out", str(tmp_path / "out")]) == 0
    assert sentence in capsys.readouterr().out
    out = tmp_path / "out"
    record = json.loads((out / "huge" / "assessment.json").read_text())
    assert sentence in record["warning"]
    assert record["warning"] == record["frames"][record["best"]]["warning"]
    for table in ("summary.csv", "huge/frames.csv"):
        assert sentence in (out / table).read_text()
    for more in ([], ["--json"]):
        assert main(["best", case, "--all-frames", "--quiet", *more]) == 0
        assert sentence in capsys.readouterr().out
    words = ["--best", "--states", "proposed", "--model", "demo", "--report"]
    assert main(["export", str(doubtful), str(tmp_path / "export"), *words]) == 0
    with open(tmp_path / "export" / "manifest.csv", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert sentence in row["warning"]
    assert json.loads((tmp_path / "export" / "dataset.json").read_text())["doubtful_circumferences"] == 1
    assert "doubtful" in (tmp_path / "export" / "README.md").read_text()
    assert sentence in (tmp_path / "export" / "report.html").read_text()
