"""Masks as run lengths."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fetaliqa.errors import OptionError
from fetaliqa.measure.run_lengths import mask_from_runs, run_lengths


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1)))
@settings(max_examples=60, deadline=None)
def test_a_mask_comes_back_from_its_runs(mask: np.ndarray) -> None:
    runs = run_lengths(mask)
    assert sum(runs) == mask.size
    assert all(run > 0 for run in runs[1:])
    np.testing.assert_array_equal(mask_from_runs(json.loads(json.dumps(runs)), mask.shape), mask)


def test_runs_go_row_by_row_and_begin_with_zeros() -> None:
    assert run_lengths(np.array([[1, 1, 0], [0, 0, 5]])) == [0, 2, 3, 1]
    assert run_lengths(np.zeros((2, 3))) == [6]


def test_runs_of_no_pixels_are_accepted() -> None:
    np.testing.assert_array_equal(mask_from_runs([1, 0, 1, 2], (2, 2)), [[0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("runs", "words"),
    [([3], "add up to 3"), ([5], "add up to 5"), ([-1, 5], "run of -1"), ([True, 3], "run of True"), (["4"], "4")],
)
def test_runs_that_make_no_mask_are_refused(runs: list, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        mask_from_runs(runs, (2, 2))
