"""Comparison and review of two raters on a real server; export of labelled frames as files."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from app_harness import Server
from demo_server import CASES
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.client_errors import FileError, InvalidAction
from FetalIQALib.http_client import Cancel
from FetalIQALib.label_review import agreement
from FetalIQALib.png_export import COLUMNS, export_case, png
from PIL import Image
from workspaces import a_sweep, connected, ellipse_mask, opened, settle


def test_two_raters_are_compared_and_a_version_is_reviewed_and_made_final(server: Server, tmp_path: Path) -> None:
    ben = connected(tmp_path / "ben", server.url, rater="ben", tag="review-ben")
    annotation = opened(ben, CASES[1])
    frames = sorted(annotation.sweep.assessment.proposals)[:2]
    for frame in frames:
        ben.controller.apply("accept", lambda annotation, frame=frame: annotation.accept(frame))
    ben.controller.apply("empty", lambda annotation: annotation.mark_empty(1))
    ben.controller.submit()
    settle(ben)

    anna = connected(tmp_path / "anna", server.url, rater="anna", tag="review-anna")
    annotation = opened(anna, CASES[1])
    assert not anna.review.accept()  # nothing is submitted yet
    assert "review-ben" in anna.review.tags()
    anna.controller.apply("accept", lambda annotation: annotation.accept(frames[0]))
    shifted = np.roll(annotation.sweep.assessment.proposals[frames[1]].mask.full(), 3, axis=1)
    anna.controller.draw_mask(frames[1], shifted, "draw")
    anna.controller.apply("empty", lambda annotation: annotation.mark_empty(5))
    assert anna.review.compare("review-ben")
    settle(anna)
    result = anna.review.agreement
    assert (result.both, result.same, result.worst[0]) == (2, 2, frames[1])
    assert 0.9 < result.dice < 1
    assert 0 < result.difference_mm < 3  # moved, not resized; the border of the field of view cuts it a little
    assert anna.review.mask(frames[0]) == annotation.masks()[frames[0]]

    assert not anna.review.request_changes(" ")
    assert type(anna.session.status.error) is InvalidAction
    assert anna.review.request_changes("frame 2 is too large")
    settle(anna)
    ben.worklist.refresh()
    settle(ben)
    row = ben.worklist.row(CASES[1])
    assert (row.state, row.comment) == ("changes requested", "frame 2 is too large")
    assert [row_shown.case for row_shown in ben.worklist.shown("changes requested")] == [CASES[1]]

    assert anna.review.make_final()
    settle(anna)
    assert "review-ben" in anna.session.status.text
    ben.worklist.refresh()
    settle(ben)
    assert ben.worklist.row(CASES[1]).state == "accepted"  # making it final accepts it
    opened(anna, CASES[0])
    assert anna.review.frames == {}  # the comparison belongs to the other case


def test_agreement_counts_only_frames_that_both_labelled() -> None:
    first, second = CaseAnnotation(a_sweep(), "anna"), CaseAnnotation(a_sweep(), "ben")
    for annotation in (first, second):
        annotation.accept(15)
    first.mark_empty(3)
    second.mark_empty(3)
    first.mark_empty(4)
    second.correct(4, ellipse_mask())
    first.accept(12)
    result = agreement(first.frames, second.frames, first.sweep)
    assert (result.both, result.same, result.dice, result.difference_mm) == (3, 2, 1.0, 0.0)
    assert result.worst == (4, 15)
    assert "ben" in agreement({}, second.frames, first.sweep).message("ben")


@pytest.fixture
def annotation() -> CaseAnnotation:
    labels = CaseAnnotation(a_sweep(), "=cmd()")
    labels.accept(15)
    labels.grade(15, "optimal")
    labels.mark_empty(3)
    labels.correct(9, ellipse_mask())
    labels.correct(13, ellipse_mask())
    labels.interpolate(11)  # not accepted, so not exported
    labels.comment_frame(9, "=stomach, vein")
    return labels


def test_the_export_contains_exactly_the_labelled_frames(annotation: CaseAnnotation, tmp_path: Path) -> None:
    folder = export_case(annotation.sweep, annotation.frames, tmp_path, Cancel())
    with open(folder / "frames.csv", newline="", encoding="utf-8") as file:
        rows = {int(row["frame"]): row for row in csv.DictReader(file)}
    assert list(rows) == [3, 9, 13, 15]
    assert tuple(rows[3]) == COLUMNS
    for frame, row in rows.items():
        picture = np.asarray(Image.open(folder / row["image"]))
        assert np.array_equal(picture, annotation.sweep.stack.frames[frame])
        mask = np.asarray(Image.open(folder / row["mask"]))
        drawn = annotation.frame(frame).mask
        assert np.array_equal(mask, 255 * drawn.full() if drawn else np.zeros_like(mask))
        assert int(row["area_px"]) == (drawn.area if drawn else 0)
    assert (rows[15]["plane"], rows[3]["state"], rows[3]["ac_mm"]) == ("optimal", "empty", "")
    assert float(rows[9]["ac_mm"]) == pytest.approx(31.6, abs=0.5)
    assert rows[9]["rater"] == "'=cmd()"  # not a formula in spreadsheets
    assert (rows[9]["comment"], rows[15]["comment"]) == ("'=stomach, vein", "")
    assert len(list((folder / "images").iterdir())) == len(list((folder / "masks").iterdir())) == 4
    second = export_case(annotation.sweep, annotation.frames, tmp_path, Cancel())
    assert second.name == "case_a-frames-2"  # nothing is overwritten


def test_a_failed_export_leaves_nothing_behind(annotation: CaseAnnotation, tmp_path: Path) -> None:
    canceled = Cancel()
    canceled.set()
    with pytest.raises(InvalidAction):
        export_case(annotation.sweep, annotation.frames, tmp_path / "out", canceled)
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(InvalidAction, match="case_a"):
        export_case(annotation.sweep, {}, tmp_path / "other", Cancel())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match=re.escape(str(tmp_path / "file"))):
        export_case(annotation.sweep, annotation.frames, tmp_path / "file", Cancel())
    missing = replace(annotation.sweep, assessment=None)
    assert export_case(missing, annotation.frames, tmp_path / "out", Cancel()).is_dir()  # no model is needed


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (20, 30, 3)])
def test_a_png_reads_back_exactly(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(png(picture))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
