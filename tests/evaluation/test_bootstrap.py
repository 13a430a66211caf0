from __future__ import annotations

import numpy as np
import pytest

from fetaliqa.evaluation import any_intervals, count_intervals, draw_cases, over_trials, percentile_interval
from fetaliqa.evaluation.bootstrap import dice_figures, frame_figures


def recall(counts: np.ndarray) -> dict[str, np.ndarray]:
    return {"recall": frame_figures(counts)["recall"]}


def test_every_draw_holds_as_many_cases_as_there_are():
    weights = draw_cases(7, 50, seed=1)
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.max() > 1


def test_draws_follow_the_seed():
    assert np.array_equal(draw_cases(5, 20, 3), draw_cases(5, 20, 3))
    assert not np.array_equal(draw_cases(5, 20, 3), draw_cases(5, 20, 4))
    assert draw_cases(0, 4, 0).shape == (4, 0)
    with pytest.raises(ValueError, match="negative"):
        draw_cases(3, -1, 0)


def test_the_interval_is_the_central_95_percent():
    interval = percentile_interval(np.arange(1001.0))
    assert (interval.low, interval.high, interval.draws) == pytest.approx((25, 975, 1001))


def test_draws_without_a_value_are_left_out_but_not_most_of_them():
    values = np.array([np.nan, 1.0, 2.0, 3.0])
    assert percentile_interval(values).draws == 3
    assert percentile_interval(np.array([np.nan, np.nan, np.inf, 1.0])) is None
    assert percentile_interval(np.empty(0)) is None


def test_equal_cases_leave_no_doubt():
    counts = np.tile([3, 1, 1, 5], (6, 1))
    intervals = count_intervals(counts, frame_figures, draw_cases(6, 200, 0))
    assert (intervals["recall"].low, intervals["recall"].high) == (0.75, 0.75)
    assert (intervals["accuracy"].low, intervals["accuracy"].high) == (0.8, 0.8)


def test_two_opposite_cases_leave_every_doubt():
    counts = np.array([[1, 0, 0, 0], [0, 0, 1, 0]])  # one found, one missed
    interval = count_intervals(counts, recall, draw_cases(2, 400, 0))["recall"]
    assert (interval.low, interval.high, interval.draws) == (0, 1, 400)


def test_one_case_has_no_interval():
    counts = np.array([[3, 1, 1, 5], [0, 0, 0, 0]])  # the second holds no frame
    assert count_intervals(counts, recall, draw_cases(2, 100, 0)) == {"recall": None}


def test_no_draws_give_no_interval():
    counts = np.array([[3, 1, 1, 5], [1, 0, 2, 2]])
    assert count_intervals(counts, recall, draw_cases(2, 0, 0)) == {"recall": None}
    assert any_intervals(lambda weights: [1.0], draw_cases(2, 0, 0)) == []


def test_counts_and_the_general_way_agree():
    random = np.random.default_rng(0)
    counts = random.integers(0, 9, (10, 4))
    weights = draw_cases(10, 300, 5)
    fast = count_intervals(counts, frame_figures, weights)

    def slow(draw):
        repeated = np.repeat(counts, draw, axis=0).sum(axis=0)
        tp, fp, fn, _ = repeated
        return [2 * tp / (2 * tp + fp + fn), tp / (tp + fp) if tp + fp else None]

    f1, precision = any_intervals(slow, weights)
    assert (f1.low, f1.high) == pytest.approx((fast["f1"].low, fast["f1"].high))
    assert (precision.low, precision.high) == pytest.approx((fast["precision"].low, fast["precision"].high))


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    held = 0
    for repeat in range(100):
        hits = random.binomial(20, 0.7, 40)
        counts = np.stack([hits, 0 * hits, 20 - hits, 0 * hits], axis=1)
        interval = count_intervals(counts, recall, draw_cases(40, 300, repeat))["recall"]
        held += interval.low <= 0.7 <= interval.high
    assert held >= 85


def test_figures_of_a_small_example():
    figures = frame_figures(np.array([[2, 1, 1, 4], [0, 0, 0, 3]]))
    assert figures["f1"][0] == pytest.approx(2 / 3)
    assert figures["specificity"][0] == pytest.approx(4 / 5)
    assert figures["prevalence"].tolist() == [3 / 8, 0]
    assert np.isnan(figures["precision"][1])
    dice = dice_figures(np.array([[10, 20, 30, 1.5, 3]]))
    assert (dice["micro_dice"][0], dice["positive_dice"][0]) == (0.4, 0.5)


def test_counts_of_other_cases_are_refused():
    with pytest.raises(ValueError, match="weights of shape"):
        count_intervals(np.ones((3, 4)), recall, draw_cases(2, 10, 0))


def test_trials_have_a_mean_and_a_sample_deviation():
    summary = over_trials([1.0, 2.0, 3.0])
    assert (summary.mean, summary.std, summary.trials) == (2, 1, 3)
    assert str(summary) == "2.0000 ± 1.0000"
    assert over_trials([0.5]).std is None
    assert str(over_trials([0.5])) == "0.5000"
    assert over_trials([0.5, None]) is None
    assert over_trials([]) is None
