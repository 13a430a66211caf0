"""The phantom's labels: they follow from anatomy, agree with the masks, and occur as often as real ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fetaliqa.lab.phantom import PhantomSettings, draw_plan, label_statistics
from fetaliqa.lab.phantom.fetus import draw_fetus, ellipse_circumference
from fetaliqa.lab.phantom.label_statistics import REAL
from fetaliqa.lab.phantom.phantom_case import CaseRenderer, frame_ranges
from fetaliqa.lab.phantom.phantom_truth import MAX_TILT_RAD, OPTIMAL, SUBOPTIMAL, masks_of

CASES = range(60, 90)


@pytest.fixture(scope="module")
def plans():
    return [draw_plan(seed) for seed in CASES]


def test_every_case_has_a_sweep_with_a_circumference(plans):
    for plan in plans:
        assert any(truth.ac_mm is not None for truth in plan.truths)


def test_a_sweep_has_a_circumference_exactly_when_it_has_a_labelled_frame(plans):
    for plan in plans:
        for truth in plan.truths:
            assert (truth.ac_mm is not None) == bool(truth.grade.any())


def test_grades_follow_from_the_organs_cut_by_the_plane(plans):
    for plan in plans:
        for truth in plan.truths:
            optimal, labelled = truth.grade == OPTIMAL, truth.grade > 0
            assert (truth.stomach & truth.vein)[optimal].all()
            assert (truth.stomach | truth.vein)[labelled].all()
            assert (truth.tilt[labelled] <= MAX_TILT_RAD).all()
            assert not (truth.stomach | truth.vein)[~labelled].any()


def test_no_frame_is_one_to_argue_about(plans):
    assert not any(truth.ambiguous.any() for plan in plans for truth in plan.truths)


def test_the_best_frame_is_optimal_where_there_is_one(plans):
    for plan in plans:
        for truth in plan.truths:
            if (truth.grade == OPTIMAL).any():
                assert truth.grade[truth.best] == OPTIMAL


def test_an_uncut_mask_measures_the_stated_circumference(plans):
    """The ellipse of the mask's own moments agrees with the AC within 2 %."""
    sector, compared = PhantomSettings(scale="full").sector, 0
    for plan in plans[:12]:
        for sweep, truth in zip(plan.sweeps, plan.truths):
            if truth.best is None or truth.share[truth.best] < 1:
                continue
            mask = masks_of(sweep, plan.fetus, truth, sector)[truth.best]
            moments = cv2.moments((mask > 0).astype(np.uint8), binaryImage=True)
            mu = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]])
            semi = 2 * np.sqrt(np.linalg.eigvalsh(mu / moments["m00"])) * sector.spacing_mm
            assert ellipse_circumference(*semi) == pytest.approx(truth.ac_mm, rel=0.02)
            compared += 1
    assert compared >= 5


def test_masks_carry_the_frame_s_grade_and_stay_in_the_sector(plans):
    settings = PhantomSettings()
    for seed, plan in zip(CASES, plans[:3]):
        renderer = CaseRenderer(seed, settings)
        for sweep, truth in enumerate(plan.truths):
            frames = np.flatnonzero(truth.grade)[:4]
            _, masks = renderer.render(sweep, np.append(frames, 0))
            for frame, mask in zip(frames, masks):
                assert set(np.unique(mask)) == {0, truth.grade[frame]}
                assert not mask[~settings.sector.mask].any()
            assert truth.grade[0] or not masks[-1].any()


def test_a_cut_outline_is_larger_than_its_mask(plans):
    sector = PhantomSettings().sector
    cut = 0
    for plan in plans:
        for sweep, truth in zip(plan.sweeps, plan.truths):
            masks = masks_of(sweep, plan.fetus, truth, sector)
            for frame, mask in masks.items():
                if truth.share[frame] < 0.97:
                    area = (mask > 0).sum() * sector.spacing_mm**2
                    whole = np.pi * truth.semi[frame].prod()
                    assert area / whole == pytest.approx(truth.share[frame], abs=0.03)
                    cut += 1
    assert cut > 0


def test_a_fetus_has_the_circumference_it_was_drawn_for():
    for seed in range(20):
        fetus = draw_fetus(np.random.default_rng(seed))
        assert 141 <= fetus.ac_mm <= 351
        assert ellipse_circumference(*fetus.trunk.semi[:2]) == pytest.approx(fetus.ac_mm, rel=1e-6)


def test_ranges_of_labels_are_half_open_and_shifted():
    labels = np.array([0, 1, 1, 2, 0, 1], np.uint8)
    assert frame_ranges(labels, OPTIMAL, 140) == [[141, 143], [145, 146]]
    assert frame_ranges(labels, SUBOPTIMAL, 140) == [[143, 144]]


def test_label_statistics_are_near_the_real_ones():
    figures = label_statistics(150, seed=4)
    assert figures["annotated_share"] == pytest.approx(REAL["annotated_share"], abs=0.006)
    assert figures["run_length_50_90_max"][0] == pytest.approx(7, abs=2)
    assert figures["run_length_50_90_max"][1] == pytest.approx(16, abs=4)
    assert figures["slot_5_50_95"] == pytest.approx(REAL["slot_5_50_95"], abs=8)
    assert figures["cases_by_ac_count"] == pytest.approx(REAL["cases_by_ac_count"], abs=0.12)
    assert figures["ac_share_by_sweep"] == pytest.approx(REAL["ac_share_by_sweep"], abs=0.11)
    assert figures["cases_with_optimal"] == pytest.approx(REAL["cases_with_optimal"], abs=0.13)
    assert figures["ac_mean_sd_min_max"][:2] == pytest.approx([232, 45], abs=9)
