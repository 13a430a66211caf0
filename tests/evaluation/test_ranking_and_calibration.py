from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fetaliqa.evaluation import (
    WeightedRanking,
    average_precision,
    expected_calibration_error,
    precision_recall,
    reliability_bins,
    roc,
    roc_auc,
)

SCORES = np.array([0.9, 0.8, 0.7, 0.6])
TRUTH = np.array([True, False, True, False])


def test_area_is_the_share_of_pairs_in_the_right_order():
    assert roc_auc(SCORES, TRUTH) == pytest.approx(3 / 4)
    assert roc_auc(np.array([0.5, 0.5]), np.array([True, False])) == 0.5


def test_average_precision_is_the_mean_precision_at_each_positive():
    assert average_precision(SCORES, TRUTH) == pytest.approx((1 / 1 + 2 / 3) / 2)


@pytest.mark.parametrize("truth", [np.zeros(4, bool), np.ones(4, bool)])
def test_without_both_classes_nothing_is_ranked(truth):
    assert roc_auc(SCORES, truth) is None
    assert average_precision(SCORES, truth) is None
    assert precision_recall(SCORES, truth) is None
    assert roc(SCORES, truth) is None
    assert WeightedRanking(SCORES, truth, np.zeros(4, int)).figures(np.array([1])) == (None, None)


def test_the_precision_recall_curve_has_one_point_per_score():
    curve = precision_recall(SCORES, TRUTH)
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert curve.precision == pytest.approx([1, 1 / 2, 2 / 3, 2 / 4])
    assert curve.recall == pytest.approx([0.5, 0.5, 1, 1])


def test_the_roc_curve_runs_from_corner_to_corner():
    curve = roc(SCORES, TRUTH)
    assert (curve.false_positive_rate[0], curve.true_positive_rate[0]) == (0, 0)
    assert (curve.false_positive_rate[-1], curve.true_positive_rate[-1]) == (1, 1)


def test_weighted_ranking_agrees_with_scikit_learn():
    random = np.random.default_rng(3)
    scores = random.integers(0, 25, 400) / 25  # many ties
    truth = random.random(400) < 0.15 + 0.3 * scores
    cases = random.integers(0, 12, 400)
    ranked = WeightedRanking(scores, truth, cases)
    assert ranked.figures(np.ones(12, int)) == pytest.approx(
        (roc_auc(scores, truth), average_precision(scores, truth))
    )
    for _ in range(5):
        weights = random.integers(0, 4, 12)
        each = weights[cases]
        expected = (
            roc_auc_score(truth, scores, sample_weight=each),
            average_precision_score(truth, scores, sample_weight=each),
        )
        assert ranked.figures(weights) == pytest.approx(expected)


def test_a_draw_without_positive_frames_is_not_ranked():
    ranked = WeightedRanking(SCORES, TRUTH, np.array([0, 1, 0, 1]))
    assert ranked.figures(np.array([0, 2])) == (None, None)
    assert ranked.figures(np.array([2, 0])) == (None, None)


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected"):
        roc_auc(SCORES, TRUTH[:3])
    with pytest.raises(ValueError, match="1 of 4 scores"):
        average_precision(np.array([0.1, np.nan, 0.2, 0.3]), TRUTH)


def test_calibration_error_weighs_the_gaps_by_frames():
    scores, truth = np.array([0.05, 0.05, 0.95, 0.95]), np.array([False, True, True, True])
    # bin 0: half are positive, scored 0.05; bin 9: all, scored 0.95
    assert expected_calibration_error(scores, truth, 10) == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)


def test_scores_that_mean_what_they_say_have_no_calibration_error():
    scores = np.repeat([0.25, 0.75], 4)
    truth = np.array([1, 0, 0, 0, 1, 1, 1, 0], bool)
    assert expected_calibration_error(scores, truth) == pytest.approx(0)


def test_bins_are_of_equal_width_and_closed_below():
    table = reliability_bins(np.array([0.0, 0.1, 0.5, 1.0]), np.array([False, False, True, True]), 2)
    assert table.edges.tolist() == [0, 0.5, 1]
    assert table.counts.tolist() == [2, 2]
    assert table.mean_score == pytest.approx([0.05, 0.75])
    assert table.positive_share.tolist() == [0, 1]


def test_an_empty_bin_has_no_share():
    table = reliability_bins(np.array([0.1]), np.array([True]), 3)
    assert table.counts.tolist() == [1, 0, 0]
    assert np.isnan(table.positive_share[1:]).all()


def test_what_is_not_a_probability_is_refused():
    with pytest.raises(ValueError, match="0 to 1"):
        expected_calibration_error(np.array([1.2]), np.array([True]))
    with pytest.raises(ValueError, match="bins"):
        reliability_bins(np.array([0.2]), np.array([True]), 0)
    assert expected_calibration_error(np.empty(0), np.empty(0, bool)) is None
