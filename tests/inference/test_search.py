"""Finding the best frame without looking at all: what is looked at, when it stops, what is said of the rest."""

from __future__ import annotations

import numpy as np
import pytest
from test_assessment import AXES, SPACING, brightness_predictor, drawn_frames

from fetaliqa.errors import OptionError
from fetaliqa.inference import AssessOptions, assess
from fetaliqa.inference.best_frame_search import BUDGET, LEAST_BUDGET, LOOKS, STEP, SweepSearch, interpolated
from fetaliqa.sweep import sweep_from_array


def searched(quality: np.ndarray, frames: np.ndarray | None = None) -> dict[int, float]:
    """What was looked at in a sweep whose frames have these qualities."""
    search = SweepSearch(np.arange(len(quality)) if frames is None else frames)
    found: dict[int, float] = {}
    for _ in range(100):
        wanted = search.wanted(found)
        if not wanted:
            return found
        assert not set(wanted) & set(found)
        found |= {frame: float(quality[frame]) for frame in wanted}
    raise AssertionError("the search does not end")


@pytest.mark.parametrize("peak", [0, 3, 61, 97, 139])
@pytest.mark.parametrize("width", [6, 15, 40])
def test_the_best_frame_of_a_smooth_curve_is_found_with_few_looks(peak: int, width: int) -> None:
    quality = 0.8 * np.exp(-0.5 * ((np.arange(140) - peak) / width) ** 2)
    frames = searched(quality)
    assert max(frames.values()) > quality.max() - 0.01
    assert len(frames) <= np.ceil(BUDGET * 140)


def test_a_sweep_without_anatomy_costs_the_first_look_only() -> None:
    assert len(searched(np.random.default_rng(0).uniform(0, 0.04, 140))) == len(range(STEP // 2, 140, STEP))


@pytest.mark.parametrize("peak", [0, 7, 20, 39])
def test_a_short_sweep_is_looked_at_as_often_as_a_long_one(peak: int) -> None:
    """The frames of a sweep of 40 are as far apart as every third or fourth of 140."""
    quality = 0.9 * (np.abs(np.arange(40) - peak) <= 1) * (1 - 0.1 * np.abs(np.arange(40) - peak))
    frames = searched(quality)
    assert max(frames.values()) == quality.max()
    assert LEAST_BUDGET >= len(frames) >= LOOKS
    assert len(searched(np.zeros(9))) == 9


def test_the_higher_of_two_peaks_is_found() -> None:
    frames = np.arange(140)
    quality = 0.7 * np.exp(-0.5 * ((frames - 30) / 8) ** 2) + 0.75 * np.exp(-0.5 * ((frames - 110) / 8) ** 2)
    assessed = searched(quality)
    assert abs(max(assessed, key=lambda frame: assessed[frame]) - 110) <= 1


def test_only_frames_that_may_be_looked_at_are() -> None:
    frames = np.concatenate([np.arange(10, 40), np.arange(60, 61)])
    assert set(searched(np.linspace(0, 1, 140), frames)) <= set(frames.tolist())
    assert set(searched(np.ones(1), np.arange(1))) == {0}


def test_quality_between_two_looks_is_interpolated() -> None:
    assert interpolated(np.arange(5), {1: 0.2, 3: 0.6}) == {0: 0.2, 2: 0.4, 4: 0.6}
    assert interpolated(np.arange(5), {}) == {}


def test_an_assessment_by_search_offers_only_what_it_looked_at_and_says_what_it_did_not() -> None:
    shown = {frame: (AXES[0] - abs(25 - frame), AXES[1]) for frame in range(15, 36)}
    sweep = sweep_from_array(drawn_frames(shown), (SPACING, SPACING), case_id="drawn")
    done: list[tuple[int, int]] = []
    whole = assess(sweep, brightness_predictor())
    assessment = assess(
        sweep, brightness_predictor(), AssessOptions(search=True), progress=lambda *at: done.append(at)
    )
    frames = assessment.record["frames"]
    looked = [frame["index"] for frame in frames if frame["positive"] is not None]
    guessed = [frame for frame in frames if frame.get("interpolated")]
    assert len(looked) + len(guessed) == 70
    assert len(looked) <= LEAST_BUDGET
    assert {(frame["positive"], 0 <= frame["quality"] <= 1) for frame in guessed} == {(None, True)}
    assert set(assessment.record["ranking"]) <= set(looked)
    best, reference = assessment.record["best"], whole.record["frames"][whole.record["best"]]
    assert frames[best]["quality"] > reference["quality"] - 0.01
    assert "circumference_mm" in frames[best]
    assert not assessment.masks[[frame["index"] for frame in guessed]].any()
    assert assessment.masks[best].any()
    assert done[-1] == (70, 70)
    assert assessment.record["options"]["search"] is True


def test_a_search_in_vain_tells_how_many_frames_it_looked_at() -> None:
    sweep = sweep_from_array(drawn_frames({}), (SPACING, SPACING), case_id="empty")
    assessment = assess(sweep, brightness_predictor(), AssessOptions(search=True)).record
    looked = sum(frame["positive"] is not None for frame in assessment["frames"])
    assert assessment["best"] is None
    assert f"none of the {looked} scored frames" in assessment["reason"]


def test_search_is_yes_or_no() -> None:
    with pytest.raises(OptionError, match="search is 'maybe'; it must be true or false"):
        AssessOptions.from_request({"search": "maybe"})
    assert AssessOptions.from_request({"search": True}).search
