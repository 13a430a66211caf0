"""The annotator's decisions: what each key does, what it refuses, and that undo takes exactly one action back."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from FetalIQALib.casework import CaseWork
from FetalIQALib.decisions import ANNOTATED, EMPTY, INTERPOLATION, UNTOUCHED, Frame, frames_of
from FetalIQALib.failures import BadReply, NotPossible
from FetalIQALib.masks import Mask
from hypothesis import given, settings
from hypothesis import strategies as st
from workplaces import SHAPE, a_sweep, ellipse_mask

from fetaliqa.labels import parse_record


@pytest.fixture
def work() -> CaseWork:
    return CaseWork(a_sweep(), "anna")


def test_looking_at_every_frame_decides_nothing(work: CaseWork) -> None:
    for frame in range(work.sweep.count):
        work.look_at(frame)
    assert work.frames == {}
    assert not work.unsaved
    assert work.record() == {"schema": 1, "frames": {}}


def test_a_proposal_becomes_truth_only_by_accepting_it(work: CaseWork) -> None:
    work.accept(15)
    assert work.masks() == {15: work.sweep.assessment.proposals[15].mask}
    assert work.record()["frames"]["15"]["model"] == "demo"
    with pytest.raises(NotPossible, match="Nothing is proposed"):
        work.accept(2)


def test_the_record_is_what_the_server_reads(work: CaseWork) -> None:
    work.accept(15)
    work.grade(15, "optimal")
    work.mark_empty(3)
    work.correct(9, ellipse_mask())
    record = parse_record(work.record(), "test", work.sweep.count)
    assert record.known() == [3, 9, 15]
    assert record.frames[15].plane == "optimal"
    for frame, label in record.frames.items():
        assert not label.contradicts(frame in work.masks())


def test_erasing_everything_is_not_saying_empty(work: CaseWork) -> None:
    work.accept(15)
    assert work.correct(15, np.zeros(SHAPE, np.uint8))
    assert work.frame(15).state == UNTOUCHED
    work.undo()
    assert work.frame(15).state == ANNOTATED


def test_the_same_mask_again_is_no_action(work: CaseWork) -> None:
    work.accept(15)
    revision = work.revision
    assert not work.correct(15, work.masks()[15].full())
    assert work.revision == revision


def test_accepting_twice_is_one_action(work: CaseWork) -> None:
    work.mark_empty(3)
    work.accept(15)
    work.grade(15, "optimal")
    work.undo()
    revision = work.revision
    assert "already" in work.accept(15)
    assert work.revision == revision
    work.redo()  # what could be done again still can
    assert work.frame(15).plane == "optimal"
    work.undo()
    work.undo()
    assert sorted(work.frames) == [3]
    work.accept(15)
    work.rater = "ben"
    assert work.accept(15) is None  # another person's word
    assert work.frame(15).rater == "ben"


def test_a_grade_needs_a_mask_and_goes_with_it(work: CaseWork) -> None:
    for frame in (2, 15):
        with pytest.raises(NotPossible, match="accept the proposal"):
            work.grade(frame, "optimal")
    work.accept(15)
    work.grade(15, "optimal")
    work.correct(15, ellipse_mask())
    assert work.frame(15).plane == "optimal"
    work.grade(15, "optimal")
    assert work.frame(15).plane is None
    work.mark_empty(15)
    assert (work.frame(15).plane, work.frame(15).mask) == (None, None)


def test_copying_never_overwrites_a_decision(work: CaseWork) -> None:
    work.accept(15)
    work.copy(15, 16)
    assert work.masks()[16] == work.masks()[15]
    work.mark_empty(14)
    with pytest.raises(NotPossible, match="decided already"):
        work.copy(15, 14)
    with pytest.raises(NotPossible, match="no mask"):
        work.copy(3, 4)
    with pytest.raises(NotPossible):
        CaseWork(a_sweep(), "anna").copy(29, 30)


def test_interpolated_masks_are_proposals_and_move_with_the_abdomen(work: CaseWork) -> None:
    work.correct(10, ellipse_mask(25, 28, 14, 10))
    work.correct(14, ellipse_mask(45, 32, 20, 14))
    told = work.interpolate(12)
    assert "3 masks" in told
    assert sorted(work.masks()) == [10, 14]  # not decided
    middle = work.proposal(12)
    assert middle.model == INTERPOLATION
    rows, columns = np.nonzero(middle.mask.full())
    assert (columns.mean(), rows.mean()) == pytest.approx((35, 30), abs=0.6)
    assert middle.mask.area == pytest.approx(np.pi * 17 * 12, rel=0.06)
    work.undo()
    assert work.proposal(12).model == "demo"
    work.redo()
    work.accept(12)
    assert work.record()["frames"]["12"]["model"] == INTERPOLATION
    assert work.masks()[12] == middle.mask


def test_interpolation_of_the_same_mask_gives_it_back(work: CaseWork) -> None:
    for frame in (10, 12):
        work.correct(frame, ellipse_mask())
    work.interpolate(11)
    same = np.count_nonzero(work.proposal(11).mask.full() & ellipse_mask())
    assert 2 * same / (work.proposal(11).mask.area + np.count_nonzero(ellipse_mask())) > 0.97


def test_interpolation_stops_where_the_abdomen_leaves() -> None:
    work = CaseWork(a_sweep(seen=range(5, 12)), "anna")  # the model sees nothing from 12 on
    work.correct(8, ellipse_mask())
    work.correct(20, ellipse_mask())
    told = work.interpolate(10)
    assert [frame for frame in range(30) if work.frame(frame).between] == [9, 10, 11]
    assert "leaves" in told
    work = CaseWork(a_sweep(), "anna")
    work.correct(8, ellipse_mask())
    work.correct(20, ellipse_mask())
    work.mark_empty(12)
    work.mark_empty(16)
    work.interpolate(10)
    assert [frame for frame in range(30) if work.frame(frame).between] == [9, 10, 11, 17, 18, 19]


def test_interpolation_stays_in_its_sweep(work: CaseWork) -> None:
    work.sweep = replace(work.sweep, assessment=replace(work.sweep.assessment, ranges=((0, 12), (12, 30))))
    work.correct(10, ellipse_mask())
    work.correct(14, ellipse_mask())
    with pytest.raises(NotPossible, match="same sweep"):
        work.interpolate(11)


def test_seconds_count_while_a_frame_is_looked_at() -> None:
    now = [0.0]
    work = CaseWork(a_sweep(), "anna", lambda: now[0])
    work.look_at(15)
    now[0] = 8
    work.accept(15)
    now[0] = 10
    work.grade(15, "optimal")
    work.look_at(16)
    now[0] = 4000
    work.accept(16)
    assert [work.frame(frame).seconds for frame in (15, 16)] == [10, 300]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["accept", "empty", "clear", "grade", "copy", "draw", "erase", "interpolate"]),
        st.integers(0, 29),
    ),
    max_size=25,
)


def perform(work: CaseWork, name: str, frame: int) -> None:
    drawn = ellipse_mask(30 + frame)
    actions = {
        "accept": lambda: work.accept(frame),
        "empty": lambda: work.mark_empty(frame),
        "clear": lambda: work.clear(frame),
        "grade": lambda: work.grade(frame, "suboptimal"),
        "copy": lambda: work.copy(frame, frame + 1),
        "draw": lambda: work.correct(frame, drawn),
        "erase": lambda: work.correct(frame, np.zeros(SHAPE, np.uint8)),
        "interpolate": lambda: work.interpolate(frame),
    }
    with contextlib.suppress(NotPossible):
        actions[name]()


@settings(max_examples=40, deadline=None)
@given(ACTIONS)
def test_undo_walks_back_exactly_and_redo_forth(actions: list[tuple[str, int]]) -> None:
    work = CaseWork(a_sweep(), "anna")
    states: list[dict[int, Frame]] = [dict(work.frames)]
    for name, frame in actions:
        before = work.revision
        perform(work, name, frame)
        assert work.revision - before in (0, 1)  # one key, one action
        if work.revision != before:
            states.append(dict(work.frames))
    for state in reversed(states[:-1]):
        work.undo()
        assert dict(work.frames) == state
    with pytest.raises(NotPossible):
        work.undo()
    for state in states[1:]:
        work.redo()
        assert dict(work.frames) == state


def test_a_label_of_another_program_counts_where_it_drew() -> None:
    mask = Mask.of(ellipse_mask())
    assert frames_of({}, {4: mask}, 30) == {4: Frame(ANNOTATED, mask)}
    with pytest.raises(BadReply, match="frame 5"):
        frames_of({"frames": {"5": {"state": ANNOTATED}}}, {}, 30)
    with pytest.raises(BadReply, match="not there"):
        frames_of({"frames": {"30": {"state": EMPTY}}}, {}, 30)
    shown = frames_of({"frames": {"5": {"state": "proposed"}, "6": {"state": "proposed"}}}, {5: mask}, 30)
    assert {number: (frame.decided, frame.between.mask) for number, frame in shown.items()} == {5: (False, mask)}
