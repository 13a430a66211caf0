from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fetaliqa.measure import Ellipse, FrameEvidence, draw_ellipse, fit_outline, quality_score
from fetaliqa.measure.anatomy import ABDOMEN, HEAD

PIXEL_MM = 0.28 * 744 / 224


def sector() -> np.ndarray:
    mask = np.zeros((224, 224), np.uint8)
    cv2.fillConvexPoly(mask, np.array([[80, 28], [144, 28], [220, 160], [112, 196], [4, 160]]), 1)
    return mask


def blurred(mask: np.ndarray, level: float = 0.95, sigma: float = 1.5) -> np.ndarray:
    return cv2.GaussianBlur(mask.astype(np.float32) * level, (0, 0), sigma)


def evidence(probabilities: np.ndarray, cls=None, spacing: bool = True, anatomy=ABDOMEN) -> FrameEvidence:
    mask = (probabilities > 0.5).astype(np.uint8)
    fit = fit_outline(mask, (PIXEL_MM, PIXEL_MM) if spacing else None, sector(), border_px=1)
    return FrameEvidence(probabilities, 0.5, 0.01, PIXEL_MM if spacing else None, sector(), fit, cls, anatomy)


def score(probabilities: np.ndarray, **options) -> float:
    return quality_score(evidence(probabilities, **options)).value


GOOD = draw_ellipse(Ellipse(112, 110, 44, 38, 20), (224, 224))


def test_a_clean_ellipse_scores_high_and_an_empty_frame_low():
    assert score(blurred(GOOD)) > 0.8
    assert score(np.full((224, 224), 0.001, np.float32)) < 0.01


@pytest.mark.parametrize("spacing", [True, False])
def test_more_confidence_scores_higher(spacing):
    values = [score(blurred(GOOD, level), spacing=spacing) for level in (0.6, 0.7, 0.8, 0.9, 1.0)]
    assert values == sorted(values)
    assert values[-1] - values[0] > 0.1


def test_a_sharper_outline_scores_higher():
    values = [score(blurred(GOOD, sigma=sigma)) for sigma in (12, 6, 3, 1)]
    assert values == sorted(values)


@pytest.mark.parametrize("spacing", [True, False])
def test_a_filled_sector_does_not_beat_a_good_ellipse(spacing):
    filled = blurred(sector(), 1.0, 0.5)
    assert score(filled, spacing=spacing) < 0.5 * score(blurred(GOOD, 0.8), spacing=spacing)


def test_a_large_wrong_blob_does_not_beat_a_good_ellipse():
    blob = np.zeros((224, 224), np.uint8)
    cv2.fillPoly(blob, [np.array([[80, 60], [130, 60], [150, 100], [200, 160], [112, 130], [30, 160]])], 1)
    assert blob.sum() > GOOD.sum()
    assert score(blurred(blob, 1.0)) < score(blurred(GOOD, 0.8))


def test_a_bite_out_of_the_outline_scores_lower():
    values = []
    for bite in (0, 10, 20, 30):
        broken = GOOD.copy()
        broken[110 - bite : 110 + bite, 112:] = 0
        values.append(score(blurred(broken)))
    assert values == sorted(values, reverse=True)
    assert values[0] > values[2] + 0.03


def test_an_elongated_outline_scores_lower():
    values = [
        score(blurred(draw_ellipse(Ellipse(112, 110, 40 * r, 40 / r, 0), (224, 224)))) for r in (1.0, 1.3, 1.5)
    ]
    assert values[0] >= values[1] > values[2]


def test_an_outline_cut_by_the_sector_scores_lower():
    whole = score(blurred(GOOD))
    moved = draw_ellipse(Ellipse(160, 110, 44, 38, 20), (224, 224)) & sector()
    assert score(blurred(moved)) < whole


def test_a_tiny_outline_scores_lower_than_a_full_one():
    tiny = draw_ellipse(Ellipse(112, 110, 14, 13, 0), (224, 224))
    assert score(blurred(tiny, sigma=1)) < score(blurred(GOOD, sigma=1)) - 0.1


def test_classifier_raises_and_lowers_the_score():
    values = [score(blurred(GOOD), cls=p) for p in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(0.1)  # any part at zero takes the frame to the bottom of the positive ones


def test_negative_frames_stay_below_positive_ones_and_in_order():
    values = []
    for radius in (0, 3, 6, 9, 11):
        small = draw_ellipse(Ellipse(112, 110, radius + 0.1, radius + 0.1, 0), (224, 224))
        values.append(score(blurred(small, 0.9, 0.5)))
    assert values == sorted(values)
    assert values[-1] < 0.1
    bad_but_positive = draw_ellipse(Ellipse(112, 110, 60, 3, 0), (224, 224))
    assert bad_but_positive.sum() > 502
    assert score(blurred(bad_but_positive, 0.8, 0.4)) >= 0.1


def test_the_papers_rule_decides_at_exactly_one_per_cent():
    at_rule = np.zeros((224, 224), np.float32)
    at_rule.flat[:501] = 0.9
    assert score(at_rule) < 0.1
    at_rule.flat[:502] = 0.9
    assert score(at_rule) >= 0.1


def test_parts_are_reported_within_bounds():
    result = quality_score(evidence(blurred(GOOD), cls=0.7))
    assert set(result.components) == {"confidence", "sharpness", "area", "shape", "visible", "classifier"}
    assert all(0 <= value <= 1 for value in result.components.values())


def test_anatomy_decides_what_size_is_plausible():
    small = draw_ellipse(Ellipse(112, 110, 10, 9, 0), (224, 224))  # about 55 mm around: a young head, no abdomen
    small = np.maximum(small, draw_ellipse(Ellipse(112, 110, 14, 12.5, 0), (224, 224)))
    assert score(blurred(small, sigma=0.7), anatomy=HEAD) > score(blurred(small, sigma=0.7), anatomy=ABDOMEN)


def test_numbers_that_are_not_are_refused():
    broken = blurred(GOOD)
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="not numbers"):
        score(broken)


def test_scoring_takes_less_than_a_millisecond():
    given = evidence(blurred(GOOD))
    quality_score(given)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        quality_score(given)
        times.append(time.perf_counter() - began)
    assert np.median(times) < 1e-3


def rated(probabilities: np.ndarray, expected_dice: float | None, distance: float | None):
    return quality_score(replace(evidence(probabilities), expected_dice=expected_dice, distance=distance))


def test_a_higher_expected_dice_scores_higher():
    values = [rated(blurred(GOOD), dice, 0.5).value for dice in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert values == sorted(values)
    assert values[3] - values[2] > 0.05
    assert rated(blurred(GOOD), 0.9, 0.5).components["expected_dice"] == 0.9


def test_a_frame_unlike_the_training_data_never_outranks_one_that_is_like_it():
    best_unlike = rated(blurred(GOOD, 1.0), 1.0, 1.0).value
    worst_alike = rated(blurred(GOOD, 1.0), 0.0, 0.9999).value
    assert 0.1 < best_unlike < worst_alike
    assert rated(blurred(GOOD, 0.7), 0.5, 3.0).value < best_unlike  # still in order among themselves


def test_a_negative_frame_stays_negative_at_any_distance():
    empty = np.full((224, 224), 0.001, np.float32)
    assert rated(empty, None, 0.2) == rated(empty, None, 5.0) == quality_score(evidence(empty))


def test_the_score_of_a_model_without_signals_is_what_it_was():
    """Computed with the code of before the signals."""
    assert score(blurred(GOOD)) == pytest.approx(0.9352333152126403, abs=1e-12)
    assert set(quality_score(evidence(blurred(GOOD))).components) == {
        "confidence",
        "sharpness",
        "area",
        "shape",
        "visible",
    }
