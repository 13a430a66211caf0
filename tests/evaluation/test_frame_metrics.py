from __future__ import annotations

import numpy as np
import pytest

from fetaliqa.evaluation import FrameMetrics, best_frame_distance, dice, frame_metrics


def test_counts_and_figures_of_a_small_example():
    truth = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    predicted = np.array([1, 1, 0, 1, 0, 0, 0, 0], bool)
    metrics = frame_metrics(predicted, truth)
    assert metrics == FrameMetrics(2, 1, 1, 4)
    assert metrics.accuracy == pytest.approx(6 / 8)
    assert metrics.precision == pytest.approx(2 / 3)
    assert metrics.recall == pytest.approx(2 / 3)
    assert metrics.specificity == pytest.approx(4 / 5)
    assert metrics.f1 == pytest.approx(2 / 3)
    assert metrics.as_dict()["false_positive"] == 1


def test_figures_without_a_denominator_are_absent():
    metrics = frame_metrics(np.zeros(3, bool), np.zeros(3, bool))
    assert metrics.accuracy == 1.0
    assert metrics.precision is None
    assert metrics.recall is None
    assert metrics.f1 is None


def test_counts_of_cases_add_up():
    assert FrameMetrics(1, 2, 3, 4) + FrameMetrics(5, 6, 7, 8) == FrameMetrics(6, 8, 10, 12)


def test_different_lengths_are_refused():
    with pytest.raises(ValueError, match="expected"):
        frame_metrics(np.zeros(3, bool), np.zeros(4, bool))


def square(size: int, offset: int = 0) -> np.ndarray:
    mask = np.zeros((20, 20), np.uint8)
    mask[:size, offset : offset + size] = 1
    return mask


def test_dice_of_half_overlapping_squares():
    assert dice(square(4), square(4, 2)) == pytest.approx(0.5)
    assert dice(square(0), square(0)) == 1.0
    assert dice(square(4), square(0)) == 0.0


SWEEPS = ((0, 100), (100, 200))


@pytest.mark.parametrize(
    ("frame", "expected"),
    [(50, (0, 1)), (47, (3, 1)), (60, (8, 1)), (150, (20, 2)), (199, (29, 2)), (None, (None, None))],
)
def test_distance_is_to_the_nearest_frame_an_expert_would_choose(frame, expected):
    labels = np.zeros(200, int)
    labels[50:53] = 1
    labels[55:60] = 2  # nearer to 60, but the sweep has optimal frames
    labels[170] = 2
    assert best_frame_distance(frame, labels, SWEEPS) == expected


def test_distance_ignores_other_sweeps():
    labels = np.zeros(200, int)
    labels[99] = 1
    assert best_frame_distance(100, labels, SWEEPS) == (None, None)


def test_a_frame_outside_of_all_sweeps_is_refused():
    with pytest.raises(ValueError, match="none of the sweeps"):
        best_frame_distance(250, np.zeros(200, int), SWEEPS)
