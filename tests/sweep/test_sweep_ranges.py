from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetaliqa.errors import OptionError, SweepError
from fetaliqa.sweep import sweep_from_array
from fetaliqa.sweep.sweep_ranges import BLACK_LEVEL, MIN_TAIL, black_slots, infer_ranges, parse_ranges


def padding_of(lengths: list[int], slots: list[int]) -> np.ndarray:
    """Padding of sweeps with ``lengths`` images in ``slots`` slots each."""
    return np.concatenate([np.arange(slot) >= length for length, slot in zip(lengths, slots)])


def starts_of(slots: list[int]) -> tuple[tuple[int, int], ...]:
    ends = np.cumsum(slots).tolist()
    return tuple(zip([0, *ends[:-1]], ends))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(MIN_TAIL + 1, 60), st.integers(MIN_TAIL, 30)), min_size=1, max_size=8))
def test_sweeps_of_any_length_are_found_when_each_ends_in_a_black_tail(sweeps):
    lengths = [length for length, _tail in sweeps]
    slots = [length + tail for length, tail in sweeps]
    ranges = infer_ranges(padding_of(lengths, slots))
    borders = {start for start, _stop in ranges}
    assert borders >= {start for start, _stop in starts_of(slots)}
    shortest = min(slots)
    if any(end % shortest for _start, end in starts_of(slots)):
        assert ranges == starts_of(slots)


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(MIN_TAIL + 2, 60), st.data())
def test_a_sweep_that_fills_its_slots_does_not_merge_with_the_next(count, slot, data):
    lengths = data.draw(st.lists(st.integers(1, slot), min_size=count, max_size=count))
    lengths[0] = min(lengths[0], slot - MIN_TAIL)  # one sweep at least shows the slot length
    assert infer_ranges(padding_of(lengths, [slot] * count)) == starts_of([slot] * count)


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_ranges_always_cover_all_slots_in_order(padding):
    ranges = infer_ranges(np.array(padding))
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(padding)
    assert all(start < stop for start, stop in ranges)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(ranges))


def test_six_acouslic_sweeps_of_140_slots_are_found():
    lengths = [112, 140, 101, 125, 128, 118]
    assert infer_ranges(padding_of(lengths, [140] * 6)) == starts_of([140] * 6)


def test_a_sweep_that_was_not_acquired_keeps_its_place():
    assert infer_ranges(padding_of([100, 0, 110, 120], [140] * 4)) == starts_of([140] * 4)


def test_single_black_frames_inside_a_sweep_are_padding_but_no_border():
    stack = np.full((40, 8, 8), 90, np.uint8)
    stack[[11, 12, 25]] = 0
    sweep = sweep_from_array(stack)
    assert sweep.ranges == ((0, 40),)
    assert np.flatnonzero(sweep.padding).tolist() == [11, 12, 25]


def test_a_stack_without_black_frames_is_one_sweep(frames):
    assert sweep_from_array(frames).ranges == ((0, 12),)


def test_compression_noise_in_black_slots_is_still_black_and_a_dim_echo_is_not():
    stack = np.zeros((2, 6, 6), np.uint8)
    stack[0, 2, 3] = BLACK_LEVEL
    stack[1, 2, 3] = BLACK_LEVEL + 1
    assert black_slots(stack).tolist() == [True, False]


def test_a_number_of_sweeps_cuts_the_stack_into_equal_ranges(frames):
    assert sweep_from_array(frames, sweeps=3).ranges == ((0, 4), (4, 8), (8, 12))


def test_explicit_ranges_are_kept_and_give_the_sweep_of_a_frame(frames):
    sweep = sweep_from_array(frames, sweeps=[(0, 5), (5, 12)])
    assert sweep.ranges == ((0, 5), (5, 12))
    assert [sweep.sweep_of(frame) for frame in (0, 4, 5, 11)] == [0, 0, 1, 1]
    with pytest.raises(OptionError, match="frame 12"):
        sweep.sweep_of(12)


@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        (5, "12 frames of array do not divide into 5"),
        (0, "1 or more"),
        (-2, "1 or more"),
        (True, "expected a number"),
        ("3", "expected a number"),
        ([(0, 5), (6, 12)], "6:12"),
        ([(0, 7), (5, 12)], "5:12"),
        ([(0, 13)], "0:13"),
        ([(0, 5)], "end at 5"),
        ([], "end at 0"),
        ([(0, 0), (0, 12)], "0:0"),
        ([(0, 6.5), (6.5, 12)], "whole numbers"),
        ([(0, 6, 12)], "whole numbers"),
        ([("a", 12)], "whole numbers"),
        ([3, 4], "whole numbers"),
    ],
)
def test_sweeps_that_do_not_fit_the_frames_are_refused(frames, sweeps, message):
    with pytest.raises(OptionError, match=message):
        sweep_from_array(frames, sweeps=sweeps)


def test_ranges_are_read_from_text():
    assert parse_ranges("0:140, 140:280") == ((0, 140), (140, 280))


@pytest.mark.parametrize("text", ["", "0-140", "0:", "0:140;140:280", "a:b", "-1:5", "0:140,"])
def test_text_that_is_no_list_of_ranges_is_refused(text):
    with pytest.raises(OptionError, match="start:stop"):
        parse_ranges(text)


def test_an_all_black_stack_is_refused():
    with pytest.raises(SweepError, match="no frame with an image"):
        sweep_from_array(np.zeros((3, 5, 5), np.uint8))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3), np.uint16),
        np.zeros((1, 2, 3, 4), np.uint8),
        np.zeros((0, 4, 4), np.uint8),
        np.zeros((3, 0, 4), np.uint8),
    ],
)
def test_arrays_that_are_no_frames_are_refused(array):
    with pytest.raises(SweepError, match="a sweep is uint8"):
        sweep_from_array(array)


@pytest.mark.parametrize("spacing", [(0.0, 0.3), (-0.3, 0.3), (float("nan"), 0.3)])
def test_spacing_that_is_not_positive_is_refused(frames, spacing):
    with pytest.raises(SweepError, match="positive"):
        sweep_from_array(frames, spacing)


def test_the_content_hash_changes_with_pixels_spacing_and_ranges_but_not_with_the_name(frames):
    changed = frames.copy()
    changed[5, 10, 10] ^= 1
    sweeps = [
        sweep_from_array(frames, (0.3, 0.3)),
        sweep_from_array(changed, (0.3, 0.3)),
        sweep_from_array(frames, (0.3, 0.31)),
        sweep_from_array(frames),
        sweep_from_array(frames, (0.3, 0.3), sweeps=2),
        sweep_from_array(frames.reshape(6, 60, 40), (0.3, 0.3)),
    ]
    assert len({sweep.content_hash for sweep in sweeps}) == len(sweeps)
    assert sweep_from_array(frames, (0.3, 0.3), case_id="other").content_hash == sweeps[0].content_hash
