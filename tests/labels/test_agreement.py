"""Agreement of two raters, against hand-made cases and scikit-learn."""

import cv2
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from fetaliqa.labels import FrameLabel, FrameRecord
from fetaliqa.labels.rater_agreement import cohen_kappa, compare, joined
from fetaliqa.measure.ellipse import ellipse_circumference


def ellipse(radius, column=64):
    mask = np.zeros((128, 128), np.uint8)
    cv2.circle(mask, (column, 64), radius, 1.0, cv2.FILLED)
    return mask


def test_two_raters_are_compared_on_frames_that_both_looked_at():
    nothing = np.zeros((128, 128), np.uint8)
    first = np.stack([ellipse(30), ellipse(30), nothing, ellipse(20)])
    second = np.stack([ellipse(30), ellipse(33), nothing, nothing])
    one = FrameRecord(
        {
            0: FrameLabel("annotated", "optimal"),
            1: FrameLabel("annotated", "optimal"),
            2: FrameLabel("empty"),
            3: FrameLabel("annotated", "optimal"),
        }
    )
    two = FrameRecord(
        {
            0: FrameLabel("annotated", "optimal"),
            1: FrameLabel("annotated", "suboptimal"),
            2: FrameLabel("empty"),
            3: FrameLabel("proposed", "optimal"),
        }
    )
    figures = compare((first, one), (second, two), (0.5, 0.5)).agreement()
    assert (figures.frames, figures.outlined_by_both) == (3, 2)
    inner, outer = int(ellipse(30).sum()), int(ellipse(33).sum())
    assert figures.dice == pytest.approx((1 + 2 * inner / (inner + outer)) / 2)
    grown = 0.5 * (ellipse_circumference(33.5, 33.5) - ellipse_circumference(30.5, 30.5))
    assert figures.ac_difference_mm == pytest.approx(grown / 2, abs=0.3)
    assert figures.ac_bias_mm == figures.ac_difference_mm
    assert figures.kappa == pytest.approx(cohen_kappa_score([2, 2, 0], [2, 1, 0]))
    turned = compare((second, two), (first, one), (0.5, 0.5)).agreement()
    assert turned.ac_bias_mm == pytest.approx(-figures.ac_bias_mm)
    assert figures.circumference_difference == pytest.approx((33.5 - 30.5) / 32 / 2, abs=0.005)

    without = compare((first, one), (second, two), None).agreement()
    assert (without.ac_difference_mm, without.ac_bias_mm) == (None, None)
    assert without.circumference_difference == pytest.approx(figures.circumference_difference, abs=1e-6)


def test_cases_are_joined_frame_by_frame():
    record = FrameRecord({0: FrameLabel("annotated", "optimal")})
    small, large = ellipse(30)[None], ellipse(33)[None]
    empty = (np.zeros((1, 128, 128), np.uint8), FrameRecord({0: FrameLabel("empty")}))
    same, other = (compare((small, record), (mask, record), None) for mask in (small, large))
    nothing = compare(empty, (small, record), None)
    figures = joined([same, other, nothing]).agreement()
    assert (figures.frames, figures.outlined_by_both) == (3, 2)
    assert figures.dice == pytest.approx((1 + other.agreement().dice) / 2)
    assert figures.kappa == pytest.approx(cohen_kappa_score([2, 2, 0], [2, 2, 2]))


def test_without_a_shared_frame_nothing_is_claimed():
    masks = np.zeros((2, 128, 128), np.uint8)
    one, two = FrameRecord({0: FrameLabel("empty")}), FrameRecord({1: FrameLabel("empty")})
    figures = compare((masks, one), (masks, two), (1.0, 1.0)).agreement()
    assert figures.to_json() == {
        "frames": 0,
        "outlined_by_both": 0,
        "dice": None,
        "circumference_difference": None,
        "ac_difference_mm": None,
        "ac_bias_mm": None,
        "kappa": None,
    }


def test_kappa_is_scikit_learns():
    random = np.random.default_rng(3)
    for _ in range(20):
        one, two = random.integers(0, 3, (2, 40)).tolist()
        assert cohen_kappa(one, two) == pytest.approx(cohen_kappa_score(one, two))
    assert cohen_kappa([1, 1], [1, 1]) is None


def test_masks_of_two_cases_are_refused():
    record = FrameRecord({})
    with pytest.raises(ValueError, match="not of one case"):
        compare((np.zeros((2, 4, 4)), record), (np.zeros((3, 4, 4)), record), None)
