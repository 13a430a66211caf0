"""Two raters compared and judged on a real server; curated frames exported as files that others can read."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from app_harness import Server
from demo_server import CASES
from FetalIQALib.casework import CaseWork
from FetalIQALib.export import COLUMNS, export_case, png
from FetalIQALib.failures import FileFailure, NotPossible
from FetalIQALib.http import Cancel
from FetalIQALib.reviewing import agreement
from PIL import Image
from workplaces import a_sweep, connected, ellipse_mask, opened, settle


def test_two_raters_are_compared_and_a_version_is_sent_back_and_picked(server: Server, tmp_path: Path) -> None:
    ben = connected(tmp_path / "ben", server.url, rater="ben", tag="review-ben")
    work = opened(ben, CASES[1])
    frames = sorted(work.sweep.assessment.proposals)[:2]
    for frame in frames:
        ben.desk.act("accept", lambda work, frame=frame: work.accept(frame))
    ben.desk.act("empty", lambda work: work.mark_empty(1))
    ben.desk.submit()
    settle(ben)

    anna = connected(tmp_path / "anna", server.url, rater="anna", tag="review-anna")
    work = opened(anna, CASES[1])
    assert not anna.reviewing.accept()  # nothing of hers is submitted yet
    assert "review-ben" in anna.reviewing.tags()
    anna.desk.act("accept", lambda work: work.accept(frames[0]))
    shifted = np.roll(work.sweep.assessment.proposals[frames[1]].mask.full(), 3, axis=1)
    anna.desk.drawn(frames[1], shifted, "draw")
    anna.desk.act("empty", lambda work: work.mark_empty(5))
    assert anna.reviewing.compare("review-ben")
    settle(anna)
    found = anna.reviewing.agreement
    assert (found.both, found.same, found.worst[0]) == (2, 2, frames[1])
    assert 0.9 < found.dice < 1
    assert 0 < found.ac_difference_mm < 3  # moved, not resized; the border of the field of view cuts it a little
    assert anna.reviewing.mask(frames[0]) == work.masks()[frames[0]]

    assert not anna.reviewing.send_back(" ")
    assert "what to change" in anna.hub.status.text
    assert anna.reviewing.send_back("frame 2 is too large")
    settle(anna)
    ben.worklist.refresh()
    settle(ben)
    row = ben.worklist.row(CASES[1])
    assert (row.state, row.comment) == ("sent back", "frame 2 is too large")
    assert [one.case for one in ben.worklist.shown("sent back")] == [CASES[1]]

    assert anna.reviewing.pick()
    settle(anna)
    assert "final label" in anna.hub.status.text
    ben.worklist.refresh()
    settle(ben)
    assert ben.worklist.row(CASES[1]).state == "accepted"  # picking accepts
    opened(anna, CASES[0])
    assert anna.reviewing.frames == {}  # the comparison belongs to the other case


def test_agreement_counts_only_what_both_decided() -> None:
    first, second = CaseWork(a_sweep(), "anna"), CaseWork(a_sweep(), "ben")
    for work in (first, second):
        work.accept(15)
    first.mark_empty(3)
    second.mark_empty(3)
    first.mark_empty(4)
    second.correct(4, ellipse_mask())
    first.accept(12)
    found = agreement(first.frames, second.frames, first.sweep)
    assert (found.both, found.same, found.dice, found.ac_difference_mm) == (3, 2, 1.0, 0.0)
    assert found.worst == (4, 15)
    assert (
        agreement({}, second.frames, first.sweep).sentence("ben") == "No frame was decided both here and by ben."
    )


@pytest.fixture
def work() -> CaseWork:
    made = CaseWork(a_sweep(), "=cmd()")
    made.accept(15)
    made.grade(15, "optimal")
    made.mark_empty(3)
    made.correct(9, ellipse_mask())
    made.correct(13, ellipse_mask())
    made.interpolate(11)  # nobody accepted these: they are not exported
    return made


def test_the_export_holds_exactly_the_decided_frames(work: CaseWork, tmp_path: Path) -> None:
    made = export_case(work.sweep, work.frames, tmp_path, Cancel())
    with open(made / "frames.csv", newline="", encoding="utf-8") as file:
        rows = {int(row["frame"]): row for row in csv.DictReader(file)}
    assert list(rows) == [3, 9, 13, 15]
    assert tuple(rows[3]) == COLUMNS
    for frame, row in rows.items():
        picture = np.asarray(Image.open(made / row["image"]))
        assert np.array_equal(picture, work.sweep.stack.frames[frame])
        mask = np.asarray(Image.open(made / row["mask"]))
        drawn = work.frame(frame).mask
        assert np.array_equal(mask, 255 * drawn.full() if drawn else np.zeros_like(mask))
        assert int(row["area_px"]) == (drawn.area if drawn else 0)
    assert (rows[15]["plane"], rows[3]["state"], rows[3]["ac_mm"]) == ("optimal", "empty", "")
    assert float(rows[9]["ac_mm"]) == pytest.approx(31.6, abs=0.5)
    assert rows[9]["rater"] == "'=cmd()"  # no spreadsheet takes a name for a formula
    assert len(list((made / "images").iterdir())) == len(list((made / "masks").iterdir())) == 4
    again = export_case(work.sweep, work.frames, tmp_path, Cancel())
    assert again.name == "case_a-frames-2"  # nothing is overwritten


def test_an_export_that_fails_leaves_nothing_behind(work: CaseWork, tmp_path: Path) -> None:
    canceled = Cancel()
    canceled.set()
    with pytest.raises(NotPossible, match="nothing was exported"):
        export_case(work.sweep, work.frames, tmp_path / "out", canceled)
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(NotPossible, match="nothing to export"):
        export_case(work.sweep, {}, tmp_path / "other", Cancel())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileFailure, match="cannot be written"):
        export_case(work.sweep, work.frames, tmp_path / "file", Cancel())
    missing = replace(work.sweep, assessment=None)
    assert export_case(missing, work.frames, tmp_path / "out", Cancel()).is_dir()  # no model is needed


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (20, 30, 3)])
def test_a_png_reads_back_exactly(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(png(picture))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
