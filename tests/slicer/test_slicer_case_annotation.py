"""Labels of a case: what each action does and refuses, and that undo reverts exactly one action."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.client_errors import InvalidAction, InvalidResponse
from FetalIQALib.frame_annotations import ANNOTATED, EMPTY, INTERPOLATION, UNTOUCHED, FrameAnnotation, parse_frames
from FetalIQALib.frame_masks import Mask
from hypothesis import given, settings
from hypothesis import strategies as st
from workspaces import SHAPE, a_sweep, ellipse_mask

from fetaliqa.labels import parse_record


@pytest.fixture
def annotation() -> CaseAnnotation:
    return CaseAnnotation(a_sweep(), "anna")


def test_viewing_every_frame_labels_nothing(annotation: CaseAnnotation) -> None:
    for frame in range(annotation.sweep.count):
        annotation.start_viewing(frame)
    assert annotation.frames == {}
    assert not annotation.unsaved
    assert annotation.record() == {"schema": 1, "frames": {}}


def test_a_proposal_becomes_a_label_only_by_accepting_it(annotation: CaseAnnotation) -> None:
    annotation.accept(15)
    assert annotation.masks() == {15: annotation.sweep.assessment.proposals[15].mask}
    assert annotation.record()["frames"]["15"]["model"] == "demo"
    with pytest.raises(InvalidAction):
        annotation.accept(2)


def test_the_record_is_what_the_server_reads(annotation: CaseAnnotation) -> None:
    annotation.accept(15)
    annotation.grade(15, "optimal")
    annotation.mark_empty(3)
    annotation.correct(9, ellipse_mask())
    record = parse_record(annotation.record(), "test", annotation.sweep.count)
    assert record.known() == [3, 9, 15]
    assert record.frames[15].plane == "optimal"
    for frame, label in record.frames.items():
        assert not label.contradicts(frame in annotation.masks())


def test_erasing_everything_is_not_labelling_as_empty(annotation: CaseAnnotation) -> None:
    annotation.accept(15)
    assert annotation.correct(15, np.zeros(SHAPE, np.uint8))
    assert annotation.frame(15).state == UNTOUCHED
    annotation.undo()
    assert annotation.frame(15).state == ANNOTATED


def test_the_same_mask_again_is_no_action(annotation: CaseAnnotation) -> None:
    annotation.accept(15)
    revision = annotation.revision
    assert not annotation.correct(15, annotation.masks()[15].full())
    assert annotation.revision == revision


def test_accepting_twice_is_one_action(annotation: CaseAnnotation) -> None:
    annotation.mark_empty(3)
    annotation.accept(15)
    annotation.grade(15, "optimal")
    annotation.undo()
    revision = annotation.revision
    assert "15" in annotation.accept(15)
    assert annotation.revision == revision
    annotation.redo()  # redo is still possible
    assert annotation.frame(15).plane == "optimal"
    annotation.undo()
    annotation.undo()
    assert sorted(annotation.frames) == [3]
    annotation.accept(15)
    annotation.rater = "ben"
    assert annotation.accept(15) is None  # another rater
    assert annotation.frame(15).rater == "ben"


def test_a_grade_needs_a_mask_and_goes_with_it(annotation: CaseAnnotation) -> None:
    for frame in (2, 15):
        with pytest.raises(InvalidAction):
            annotation.grade(frame, "optimal")
    annotation.accept(15)
    annotation.grade(15, "optimal")
    annotation.correct(15, ellipse_mask())
    assert annotation.frame(15).plane == "optimal"
    annotation.grade(15, "optimal")
    assert annotation.frame(15).plane is None
    annotation.mark_empty(15)
    assert (annotation.frame(15).plane, annotation.frame(15).mask) == (None, None)


def test_copying_never_overwrites_a_label(annotation: CaseAnnotation) -> None:
    annotation.accept(15)
    annotation.copy(15, 16)
    assert annotation.masks()[16] == annotation.masks()[15]
    annotation.mark_empty(14)
    with pytest.raises(InvalidAction, match="Frame 14"):
        annotation.copy(15, 14)
    with pytest.raises(InvalidAction):
        annotation.copy(3, 4)
    with pytest.raises(InvalidAction):
        CaseAnnotation(a_sweep(), "anna").copy(29, 30)


def test_interpolated_masks_are_proposals_and_move_with_the_abdomen(annotation: CaseAnnotation) -> None:
    annotation.correct(10, ellipse_mask(25, 28, 14, 10))
    annotation.correct(14, ellipse_mask(45, 32, 20, 14))
    message = annotation.interpolate(12)
    assert all(number in message for number in ("3", "10", "14"))
    assert sorted(annotation.masks()) == [10, 14]  # not labelled
    middle = annotation.proposal(12)
    assert middle.model == INTERPOLATION
    rows, columns = np.nonzero(middle.mask.full())
    assert (columns.mean(), rows.mean()) == pytest.approx((35, 30), abs=0.6)
    assert middle.mask.area == pytest.approx(np.pi * 17 * 12, rel=0.06)
    annotation.undo()
    assert annotation.proposal(12).model == "demo"
    annotation.redo()
    annotation.accept(12)
    assert annotation.record()["frames"]["12"]["model"] == INTERPOLATION
    assert annotation.masks()[12] == middle.mask


def test_interpolation_between_equal_masks_is_that_mask(annotation: CaseAnnotation) -> None:
    for frame in (10, 12):
        annotation.correct(frame, ellipse_mask())
    annotation.interpolate(11)
    same = np.count_nonzero(annotation.proposal(11).mask.full() & ellipse_mask())
    assert 2 * same / (annotation.proposal(11).mask.area + np.count_nonzero(ellipse_mask())) > 0.97


def test_interpolation_skips_frames_without_abdomen() -> None:
    annotation = CaseAnnotation(a_sweep(seen=range(5, 12)), "anna")  # no proposals from frame 12 on
    annotation.correct(8, ellipse_mask())
    annotation.correct(20, ellipse_mask())
    message = annotation.interpolate(10)
    assert [frame for frame in range(30) if annotation.frame(frame).pending] == [9, 10, 11]
    assert all(number in message for number in ("12", "19"))
    annotation = CaseAnnotation(a_sweep(), "anna")
    annotation.correct(8, ellipse_mask())
    annotation.correct(20, ellipse_mask())
    annotation.mark_empty(12)
    annotation.mark_empty(16)
    annotation.interpolate(10)
    assert [frame for frame in range(30) if annotation.frame(frame).pending] == [9, 10, 11, 17, 18, 19]


def test_interpolation_stays_in_its_sweep(annotation: CaseAnnotation) -> None:
    annotation.sweep = replace(
        annotation.sweep, assessment=replace(annotation.sweep.assessment, ranges=((0, 12), (12, 30)))
    )
    annotation.correct(10, ellipse_mask())
    annotation.correct(14, ellipse_mask())
    with pytest.raises(InvalidAction):
        annotation.interpolate(11)


def test_time_is_counted_while_a_frame_is_shown() -> None:
    now = [0.0]
    annotation = CaseAnnotation(a_sweep(), "anna", lambda: now[0])
    annotation.start_viewing(15)
    now[0] = 8
    annotation.accept(15)
    now[0] = 10
    annotation.grade(15, "optimal")
    annotation.start_viewing(16)
    now[0] = 4000
    annotation.accept(16)
    assert [annotation.frame(frame).seconds for frame in (15, 16)] == [10, 300]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["accept", "empty", "clear", "grade", "copy", "draw", "erase", "interpolate"]),
        st.integers(0, 29),
    ),
    max_size=25,
)


def perform(annotation: CaseAnnotation, name: str, frame: int) -> None:
    drawn = ellipse_mask(30 + frame)
    actions = {
        "accept": lambda: annotation.accept(frame),
        "empty": lambda: annotation.mark_empty(frame),
        "clear": lambda: annotation.clear(frame),
        "grade": lambda: annotation.grade(frame, "suboptimal"),
        "copy": lambda: annotation.copy(frame, frame + 1),
        "draw": lambda: annotation.correct(frame, drawn),
        "erase": lambda: annotation.correct(frame, np.zeros(SHAPE, np.uint8)),
        "interpolate": lambda: annotation.interpolate(frame),
    }
    with contextlib.suppress(InvalidAction):
        actions[name]()


@settings(max_examples=40, deadline=None)
@given(ACTIONS)
def test_undo_and_redo_restore_every_state(actions: list[tuple[str, int]]) -> None:
    annotation = CaseAnnotation(a_sweep(), "anna")
    states: list[dict[int, FrameAnnotation]] = [dict(annotation.frames)]
    for name, frame in actions:
        before = annotation.revision
        perform(annotation, name, frame)
        assert annotation.revision - before in (0, 1)  # one key, one action
        if annotation.revision != before:
            states.append(dict(annotation.frames))
    for state in reversed(states[:-1]):
        annotation.undo()
        assert dict(annotation.frames) == state
    with pytest.raises(InvalidAction):
        annotation.undo()
    for state in states[1:]:
        annotation.redo()
        assert dict(annotation.frames) == state


def test_in_a_label_without_record_frames_with_a_mask_are_annotated() -> None:
    mask = Mask.of(ellipse_mask())
    assert parse_frames({}, {4: mask}, 30) == {4: FrameAnnotation(ANNOTATED, mask)}
    with pytest.raises(InvalidResponse, match="frame 5"):
        parse_frames({"frames": {"5": {"state": ANNOTATED}}}, {}, 30)
    with pytest.raises(InvalidResponse, match="'30'"):
        parse_frames({"frames": {"30": {"state": EMPTY}}}, {}, 30)
    shown = parse_frames({"frames": {"5": {"state": "proposed"}, "6": {"state": "proposed"}}}, {5: mask}, 30)
    assert {number: (frame.labelled, frame.pending.mask) for number, frame in shown.items()} == {5: (False, mask)}
