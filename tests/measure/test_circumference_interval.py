"""Intervals of a circumference, and the combination of a case's frames."""

from __future__ import annotations

import numpy as np
import pytest

from fetaliqa.measure.anatomy import ABDOMEN
from fetaliqa.measure.case_measurement import add_intervals, case_measurement, combined_frames
from fetaliqa.measure.case_words import growth_lines, measurement_lines
from fetaliqa.measure.circumference_interval import (
    Calibration,
    Quantile,
    conformal_quantile,
    difficulty,
    untrusted,
)

CALIBRATION = Calibration(
    0.9, Quantile(1.0, 30, "stills"), Quantile(1.0, 40, "frames"), Quantile(2.0, 40, "cases")
)
RANGES = [(0, 60), (60, 120)]


def a_frame(mm: float | None = 210.0, **changed: object) -> dict:
    fields = {
        "circumference_mm": mm,
        "quality": 0.95,
        "fit_residual": 0.01,
        "fitted_share": 1.0,
        "border_band": 0.02,
        "circumference_interval_mm": None,
    }
    return fields | changed


def a_case(frames: dict[int, dict], calibration: Calibration | None = CALIBRATION, absent: str | None = None):
    quality, positive = np.full(120, np.nan), np.zeros(120, bool)
    for number, fields in frames.items():
        quality[number], positive[number] = fields["quality"], True
    add_intervals(frames, calibration, single=False)
    combined = combined_frames(frames, quality, positive, RANGES)
    return case_measurement(frames, combined, ABDOMEN, (calibration, absent), single=False)


def test_a_calibrated_quantile_covers_new_cases_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        scores = random.lognormal(size=80)  # whatever their distribution
        quantile = conformal_quantile(scores[:40].tolist(), 0.9)
        assert quantile is not None
        covered.append((scores[40:] <= quantile).mean())
    assert 0.89 < np.mean(covered) < 0.93


def test_too_few_cases_give_no_quantile() -> None:
    assert conformal_quantile([1.0] * 8, 0.9) is None
    assert conformal_quantile([1.0] * 9, 0.9) == 1.0


@pytest.mark.parametrize("change", [{"border_band": 0.05}, {"fit_residual": 0.05}, {"fitted_share": 0.7}])
def test_a_more_doubtful_outline_has_a_wider_interval(change: dict) -> None:
    assert difficulty(a_frame(**change)) > difficulty(a_frame())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unlike_training_data": True}, "unlike the images"),
        ({"quality": 0.6}, "quality of 0.60 is below 0.75"),
        ({"fitted_share": 0.5}, "only 50% of the border"),
        ({"border_band": 0.6}, "not sure of the border"),
    ],
)
def test_a_frame_that_cannot_be_trusted_has_no_interval_and_its_case_says_why(change: dict, words: str) -> None:
    frames = {20: a_frame(**change)}
    measured = a_case(frames)
    assert measured is not None
    assert (measured["mm"], measured["interval_mm"], measured["coverage"]) == (210.0, None, None)
    assert words in measured["interval_absent"]
    assert words in (untrusted(frames[20]) or "")
    assert frames[20]["circumference_interval_mm"] is None


def test_good_frames_of_all_sweeps_are_combined_and_one_that_disagrees_is_left_out() -> None:
    frames = {10: a_frame(208.0), 40: a_frame(212.0), 80: a_frame(209.0), 110: a_frame(300.0, quality=0.94)}
    measured = a_case(frames)
    assert measured is not None
    assert sorted(measured["frames"]) == [10, 40, 80]
    assert measured["mm"] == 209.0
    low, high = measured["interval_mm"]
    assert low < 209.0 < high
    assert measured["coverage"] == 0.9


def test_a_plane_of_lower_quality_does_not_count_beside_a_good_one() -> None:
    measured = a_case({10: a_frame(210.0), 80: a_frame(190.0, quality=0.85)})
    assert measured is not None
    assert measured["frames"] == [10]


def test_frames_that_disagree_make_the_interval_of_the_case_wider() -> None:
    agreeing, apart = (
        a_case({10: a_frame(209.0), 80: a_frame(211.0)}),
        a_case({10: a_frame(200.0), 80: a_frame(220.0)}),
    )
    assert agreeing is not None
    assert apart is not None
    assert np.diff(apart["interval_mm"]) > np.diff(agreeing["interval_mm"])


def test_a_circumference_that_no_abdomen_has_gets_no_interval() -> None:
    measured = a_case({10: a_frame(60.0)})
    assert measured is not None
    assert "outside of the plausible 100 to 450 mm" in measured["interval_absent"]


def test_a_model_without_a_calibration_says_so_and_still_measures() -> None:
    frames = {10: a_frame()}
    measured = a_case(frames, None, "this model has no calibrated interval")
    assert measured is not None
    assert (measured["mm"], measured["interval_mm"]) == (210.0, None)
    assert measured["interval_absent"] == "this model has no calibrated interval"
    assert frames[10]["circumference_interval_mm"] is None


def test_a_model_that_was_calibrated_on_single_images_has_no_interval_for_sweeps() -> None:
    only_stills = Calibration(0.9, Quantile(1.0, 30, "stills"), None, None)
    measured = a_case({10: a_frame()}, only_stills)
    assert measured is not None
    assert measured["interval_absent"] == "the model's intervals are not calibrated for sweeps"


def test_a_case_without_a_circumference_in_mm_has_no_measurement() -> None:
    assert a_case({10: a_frame(None)}) is None


def test_the_lines_of_a_case_state_interval_frames_and_what_it_was_calibrated_on() -> None:
    record = {"measurement": a_case({10: a_frame(), 80: a_frame()})}
    first, second = measurement_lines(record)
    assert first.startswith("AC 210.0 mm (90 % interval ")
    assert first.endswith("from frames 10, 80")
    assert second == "interval calibrated on cases"
    assert measurement_lines({}) == growth_lines({}) == []  # records of earlier versions
