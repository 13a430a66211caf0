"""Which frames are looked at when a student has guessed all of them."""

from __future__ import annotations

import numpy as np
import pytest

from fetaliqa.errors import TrainingError
from fetaliqa.inference.screened_search import BUDGET, ScreenedSearch, ScreenLimits
from fetaliqa.lab.distillation.search_limits import KnownSweep, choose_limits, figures, replay

LIMITS = ScreenLimits(floor=0.05, margin=0.5)
FRAMES = np.arange(120)


def run_of(middle: int, height: float = 0.9) -> np.ndarray:
    """Quality of a sweep with one run of nine frames."""
    return np.clip(height - 0.05 * np.abs(FRAMES - middle), 0, 1) * (np.abs(FRAMES - middle) <= 4)


def looked_at(search: ScreenedSearch, quality: np.ndarray) -> dict[int, float]:
    seen: dict[int, float] = {}
    for _ in range(200):
        wanted = search.wanted(seen)
        if not wanted:
            return seen
        assert not set(wanted) & set(seen)
        seen |= {frame: float(quality[frame]) for frame in wanted}
    raise AssertionError("the search does not end")


def test_a_good_student_leads_to_the_best_frame_in_a_few_looks() -> None:
    quality = run_of(40)
    frames = looked_at(ScreenedSearch(FRAMES, 0.8 * quality, LIMITS), quality)
    assert max(frames, key=lambda frame: frames[frame]) == 40
    assert len(frames) <= 9


def test_a_hopeless_sweep_costs_one_look() -> None:
    guessed = np.full(120, 0.01)
    guessed[17] = 0.04
    assert set(looked_at(ScreenedSearch(FRAMES, guessed, LIMITS), np.zeros(120))) == {17}


def test_a_frame_that_is_better_than_guessed_draws_looks_to_its_neighbours() -> None:
    """The student sees only the border of the run, and only half."""
    quality, guessed = run_of(60), np.zeros(120)
    guessed[56] = 0.3
    assert max(looked_at(ScreenedSearch(FRAMES, guessed, LIMITS), quality).values()) == quality[60]


def test_a_frame_that_is_worse_than_guessed_hides_none_of_its_neighbours() -> None:
    quality, guessed = np.zeros(120), np.zeros(120)
    guessed[30:34], quality[33] = (0.6, 0.55, 0.5, 0.45), 0.9
    assert 33 in looked_at(ScreenedSearch(FRAMES, guessed, LIMITS), quality)


def test_what_cannot_reach_the_best_one_is_left_out() -> None:
    quality, guessed = run_of(20), 0.95 * run_of(20) + 0.3 * (FRAMES > 60)
    assert max(looked_at(ScreenedSearch(FRAMES, guessed, LIMITS), quality)) < 60
    all_trusted = ScreenLimits(floor=0.05, margin=1.0)
    assert max(looked_at(ScreenedSearch(FRAMES, guessed, all_trusted), quality)) > 60


def test_a_student_that_likes_everything_costs_no_more_than_the_budget() -> None:
    assert len(looked_at(ScreenedSearch(FRAMES, np.full(120, 0.9), LIMITS), np.zeros(120))) == BUDGET * 120


def test_what_was_not_looked_at_is_guessed_and_nothing_else_is() -> None:
    search = ScreenedSearch(FRAMES[10:30], np.full(20, 0.2), LIMITS)
    assert set(search.rest({})) == set(range(10, 30))
    rest = search.rest({12: 0.9})
    assert set(rest) == set(range(10, 30)) - {12}
    assert rest[13] > rest[14] > rest[29] == pytest.approx(0.2, abs=1e-4)
    assert search.rest({12: 0.0})[13] == pytest.approx(0.2)


def known(guess_of: float, sweeps: int = 10) -> list[KnownSweep]:
    qualities = [run_of(20 + 5 * number) * (number % 2) for number in range(sweeps)]
    return [KnownSweep(quality, quality > 0.1, guess_of * quality) for quality in qualities]


def test_limits_find_what_is_asked_for_and_spare_some_looks() -> None:
    good, limits_figures = choose_limits(known(0.9))
    assert limits_figures["found"] == limits_figures["sweeps"] == 10
    assert limits_figures["found_of_those"] == limits_figures["sweeps_with_a_best_frame"] == 5
    assert limits_figures["share_looked_at"] < 0.08
    everything = [
        replay(ScreenedSearch(FRAMES, one.guessed, good), one.quality, one.positive) for one in known(0.9)
    ]
    assert figures(everything) == limits_figures


def test_a_student_that_is_further_off_is_trusted_less() -> None:
    """It takes the worse of two runs for the better one: 0.9 for 0.5, and 0.22 for 0.9."""
    quality, guessed = run_of(30) + run_of(90, 0.5), 0.25 * run_of(30) + run_of(90)
    limits, _ = choose_limits([KnownSweep(quality, quality > 0.1, guessed)])
    assert limits.margin + 0.25 * 0.9 > 0.5


def test_a_student_that_finds_too_little_is_refused() -> None:
    with pytest.raises(TrainingError, match="5 of 10 held-out sweeps"):
        choose_limits(known(0.0))


def test_a_student_that_saves_no_looks_is_refused() -> None:
    nothing, everywhere = np.zeros(120), np.where(np.abs(FRAMES - 60) <= 17, 0.5, 0.0)
    vague = [KnownSweep(nothing, nothing > 0, everywhere)] * 4
    with pytest.raises(TrainingError, match="as many as without one"):
        choose_limits(vague)


def test_a_replay_calls_a_frame_found_when_it_is_as_good_within_a_hundredth() -> None:
    quality = np.zeros(120)
    quality[[50, 51, 52]] = 0.895, 0.9, 0.895
    sharp = np.where(FRAMES == 50, 0.9, 0.0)
    limits = ScreenLimits(floor=0.5, margin=0.0)
    assert replay(ScreenedSearch(FRAMES, sharp, limits), quality, quality > 0.1).found
    quality[50] = 0.88
    result = replay(ScreenedSearch(FRAMES, sharp, limits), quality, quality > 0.1)
    assert (result.found, result.best, result.frames) == (False, 51, 120)
