from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import SimpleITK as sitk

from fetaliqa.evaluation import (
    CaseTruth,
    challenge_circumference,
    evaluate_case,
    mean_score,
)
from fetaliqa.evaluation.acouslic_metrics import MISSED_HD
from fetaliqa.measure import Ellipse, draw_ellipse

SHAPE = (120, 160)
SWEEPS = ((0, 40), (40, 80))
DISC = draw_ellipse(Ellipse(80, 60, 35, 30, 0), SHAPE)
EMPTY = np.zeros(SHAPE, np.uint8)


def truth_of(labels: dict[int, int], circumferences=(60.0, None)) -> CaseTruth:
    masks = np.zeros((80, *SHAPE), np.uint8)
    for frame, label in labels.items():
        masks[frame] = label * DISC
    return CaseTruth(masks, circumferences, SWEEPS)


def test_a_perfect_answer_scores_almost_one():
    circumference = challenge_circumference(DISC)
    score = evaluate_case(truth_of({10: 1}, (circumference, None)), 10, DISC)
    assert (score.wfss, score.dice_soft, score.nae_ac, score.hausdorff_px) == (1, 1, 0, 0)
    assert score.score == 1.0


@pytest.mark.parametrize(
    ("labels", "frame", "expected"),
    [
        ({10: 1, 12: 2}, 10, 1.0),
        ({10: 1, 12: 2}, 12, 0.6),
        ({12: 2}, 12, 1.0),
        ({50: 1, 12: 2}, 12, 0.6),
        ({10: 1}, 11, 0.0),
        ({10: 1}, -1, 0.0),
        ({}, 10, 0.0),
    ],
)
def test_frame_selection_score_follows_the_labels_of_the_whole_case(labels, frame, expected):
    assert evaluate_case(truth_of(labels), frame, DISC).wfss == expected


def test_an_empty_mask_on_a_good_frame_still_scores_the_selection():
    score = evaluate_case(truth_of({10: 1}), 10, EMPTY)
    assert (score.wfss, score.dice_soft, score.nae_ac, score.hausdorff_px) == (1, 0, 1, MISSED_HD)


@pytest.mark.parametrize(("frame", "expected"), [(13, 0.8), (20, 1 / 3), (25, 0.0), (26, 0.0), (7, 0.8)])
def test_dice_fades_with_the_distance_to_the_annotated_frame(frame, expected):
    assert evaluate_case(truth_of({10: 1}), frame, DISC).dice_soft == pytest.approx(expected)


def test_annotated_frames_of_another_sweep_do_not_count():
    assert evaluate_case(truth_of({38: 1}), 41, DISC).dice_soft == 0


def test_official_mode_prefers_a_frame_behind_and_corrected_mode_the_nearest():
    # facts: chosen 58, annotated 51 and 60; the official code used 51: 1 - 7/15
    truth = truth_of({51: 1, 60: 1}, (None, 60.0))
    assert evaluate_case(truth, 58, DISC, mode="official").dice_soft == pytest.approx(1 - 7 / 15)
    assert evaluate_case(truth, 58, DISC, mode="corrected").dice_soft == pytest.approx(1 - 2 / 15)


def test_official_hausdorff_can_be_negative_and_corrected_cannot():
    truth = truth_of({10: 1})
    moved = np.roll(DISC, 4, axis=1)
    in_place = evaluate_case(truth, 10, moved).hausdorff_px
    assert in_place == pytest.approx(4)
    assert evaluate_case(truth, 17, moved, mode="official").hausdorff_px == pytest.approx(-28)
    assert evaluate_case(truth, 17, moved, mode="corrected").hausdorff_px == pytest.approx(28)
    assert evaluate_case(truth, 17, DISC, mode="official").hausdorff_px == 0
    assert evaluate_case(truth, 17, DISC, mode="corrected").hausdorff_px == pytest.approx(7)


def test_no_frame_is_infinite_in_official_mode_and_zero_in_corrected_mode():
    truth = truth_of({10: 1})
    assert math.isinf(evaluate_case(truth, -1, EMPTY, mode="official").dice_soft)
    corrected = evaluate_case(truth, -1, EMPTY, mode="corrected")
    assert (corrected.dice_soft, corrected.nae_ac, corrected.hausdorff_px, corrected.score) == (0, 1, MISSED_HD, 0)


def test_choosing_a_sweep_without_reference_costs_half_of_the_score():
    truth = truth_of({10: 1, 50: 2})
    assert evaluate_case(truth, 50, DISC).nae_ac == 1.0
    assert evaluate_case(truth, 10, DISC).nae_ac < 0.1


def test_pixels_outside_of_the_field_of_view_do_not_count():
    inside = np.ones(SHAPE, np.uint8)
    inside[:, 100:] = 0
    masks = truth_of({10: 1}).masks
    truth = CaseTruth(masks, (60.0, None), SWEEPS, inside)
    spilled = DISC.copy()
    spilled[:, 110:] = 1
    assert evaluate_case(truth, 10, spilled).dice_soft == 1.0


def test_known_ellipse_measures_as_the_official_code_measured_it():
    mask = draw_ellipse(Ellipse(372, 281, 140, 120, 0), (562, 744))
    # half a pixel of radius less than the exact 229.05 mm
    assert challenge_circumference(mask) == pytest.approx(228.3, abs=0.3)
    drawn = cv2.ellipse(np.zeros((562, 744), np.uint8), (372, 281), (140, 120), 0, 0, 360, 1, -1)
    assert challenge_circumference(drawn) == pytest.approx(228.93, abs=0.2)


def test_no_ellipse_gives_no_circumference():
    assert challenge_circumference(EMPTY) is None
    dot = EMPTY.copy()
    dot[5, 5] = 1
    assert challenge_circumference(dot) is None


def test_resampled_masks_measure_as_published(shared_data):
    folder = shared_data / "acouslic"
    sector = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "fov_mask.mha")))
    official = {"0199616b": 313.0, "02d3a9bc": 258.9, "02ee26a5": 205.6, "0428da3d": 259.4}
    paths = [path for path in folder.glob("resampled_*_mask_gt.png") if path.name[10:18] in official]
    if not paths:
        pytest.skip("no resampled expert mask present")
    for path in paths:
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127
        assert challenge_circumference(mask, sector) == pytest.approx(official[path.name[10:18]], abs=0.06)


def test_means_over_cases_make_the_score():
    perfect = evaluate_case(truth_of({10: 1}, (challenge_circumference(DISC), None)), 10, DISC)
    missed = evaluate_case(truth_of({10: 1}), -1, EMPTY)
    means = mean_score([perfect, missed])
    assert means["score"] == pytest.approx(0.5)
    assert means["wfss"] == 0.5
    with pytest.raises(ValueError, match="no cases"):
        mean_score([])


@pytest.mark.parametrize("frame", [-2, 80])
def test_frames_outside_of_the_case_are_refused(frame):
    with pytest.raises(ValueError, match="frame"):
        evaluate_case(truth_of({}), frame, DISC)
