"""Pictures in the gate's report: which frames are shown, and which files are sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fetaliqa.retraining.gate_pictures import FOLDER, MOST, ComparedFrame, most_different
from fetaliqa.retraining.retraining_paths import ASKED, run_folder
from monailabel_app.lib.browser.report_pictures import picture_file, pictures_of


def frames(*changes: float, case: str = "") -> list[ComparedFrame]:
    return [
        ComparedFrame(case or f"case-{number}", number, True, 0.5, 0.5 + change)
        for number, change in enumerate(changes)
    ]


def test_the_worst_and_the_best_changes_are_shown_the_worst_first() -> None:
    shown = most_different(frames(0.1, -0.1, 0.3, -0.3, 0.2, -0.2, 0.4, -0.4, 0.0))
    assert [round(one.change, 2) for one in shown] == [-0.4, -0.3, -0.2, 0.4, 0.3, 0.2]


def test_gains_fill_up_where_little_got_worse_and_no_case_takes_all_places() -> None:
    shown = most_different([*frames(0.4, 0.39, 0.38, 0.37, case="one"), *frames(0.1, -0.1)])
    assert [(one.case, round(one.change, 2)) for one in shown] == [
        ("case-1", -0.1),
        ("one", 0.4),
        ("one", 0.39),
        ("case-0", 0.1),
        ("one", 0.38),  # no other case is left
        ("one", 0.37),
    ]


def test_without_changes_the_frames_that_the_candidate_outlines_worst_are_shown() -> None:
    same = [ComparedFrame(f"case-{number}", 0, True, number / 10, number / 10) for number in range(9)]
    assert [one.case for one in most_different(same)] == [f"case-{number}" for number in range(MOST)]


@pytest.fixture
def report(tmp_path: Path) -> dict[str, Any]:
    """Of run 3, with one picture; a file beside the pictures that is none of them."""
    folder = run_folder(tmp_path, 3)
    (folder / FOLDER).mkdir(parents=True)
    (folder / ASKED).write_text(json.dumps({"run": 3, "started": "2026-12-01", "name": "fetalclip_seg"}))
    (folder / FOLDER / "0-published.jpg").write_bytes(b"jpeg")
    (folder / FOLDER / "1-published.jpg").write_bytes(b"not listed")
    (folder / FOLDER / "0-candidate.jpg").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("secret")
    gate = {"pictures": [{"case": "a", "frame": 1}]}
    return {"run": 3, "started": "2026-12-01", "name": "fetalclip_seg", "gate": gate}


def test_only_pictures_that_the_report_lists_are_sent(tmp_path: Path, report: dict[str, Any]) -> None:
    assert pictures_of(tmp_path, report) == [{"case": "a", "frame": 1}]
    file = picture_file(tmp_path, report, 0, "published")
    assert file is not None
    assert file.read_bytes() == b"jpeg"
    assert picture_file(tmp_path, report, 1, "published") is None
    assert picture_file(tmp_path, report, 0, "candidate") is None  # a link that leads elsewhere


@pytest.mark.parametrize(
    "change",
    [{"run": 2}, {"run": "3"}, {"run": "../3"}, {"run": True}, {"started": "2026-12-02"}, {"name": "other"}],
)
def test_a_report_of_another_run_has_no_pictures(
    tmp_path: Path, report: dict[str, Any], change: dict[str, Any]
) -> None:
    other = report | change
    assert pictures_of(tmp_path, other) == []
    assert picture_file(tmp_path, other, 0, "published") is None
