"""Screening: every frame that shows the anatomy is looked at and outlined as ever, what is left out says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_assessment import AXES, SPACING, brightness_predictor, drawn_frames

from fetaliqa.errors import OptionError
from fetaliqa.inference import AssessOptions, assess
from fetaliqa.inference.frame_screening import BESIDE, Screen
from fetaliqa.inference.screened_search import ScreenLimits
from fetaliqa.lab.distillation.screening_replay import choose_screen_floor, replay_screens
from fetaliqa.lab.distillation.search_limits import KnownSweep
from fetaliqa.registry import AssessmentService
from fetaliqa.sweep import sweep_from_array

SCREEN = AssessOptions(screen=True)


def looks(guessed: list[float], positive: set[int], floor: float = 0.05) -> list[int]:
    """Frames looked at of a sweep whose frames are numbered from 100."""
    screen, seen = Screen(np.arange(100, 100 + len(guessed)), np.array(guessed), floor), dict[int, bool]()
    while wanted := screen.wanted(seen):
        assert not set(wanted) & set(seen)
        seen |= {frame: frame in positive for frame in wanted}
    return sorted(seen)


def test_what_is_not_hopeless_is_looked_at_and_of_a_hopeless_sweep_one_frame() -> None:
    assert looks([0.01, 0.06, 0.01, 0.5, 0.05], set()) == [101, 103]
    assert looks([0.01, 0.02, 0.01], set()) == [101]


def test_a_run_is_followed_to_where_it_ends_whatever_the_student_thinks_of_it() -> None:
    guessed = [0.9 if frame == 10 else 0.0 for frame in range(40)]
    run = set(range(105, 120))
    assert looks(guessed, run) == list(range(105 - BESIDE, 120 + BESIDE))
    far = 119 + BESIDE + 1
    assert looks(guessed, {*run, far}) == list(range(105 - BESIDE, far))  # a gap wider than that ends it


def a_student(guess: Any, floor: float | None = 0.05) -> Any:
    return SimpleNamespace(
        limits=ScreenLimits(0.05, 0.5, floor),
        fingerprint="f" * 64,
        guess=lambda sweep, indices: np.array([guess(frame) for frame in indices.tolist()]),
    )


def a_sweep(shown: dict[int, tuple[int, int]]) -> Any:
    return sweep_from_array(drawn_frames(shown), (SPACING, SPACING), case_id="drawn")


def test_frames_that_are_looked_at_are_as_in_a_whole_assessment_and_the_others_are_guesses() -> None:
    sweep = a_sweep(dict.fromkeys([*range(20, 30), 55], AXES))
    whole = assess(sweep, brightness_predictor())
    student = a_student(lambda frame: 0.9 if frame in (24, 55) else 0.01)
    assessment = assess(sweep, brightness_predictor(), SCREEN, student=student)
    looked = [frame["index"] for frame in assessment.record["frames"] if frame["positive"] is not None]
    assert looked == [*range(20 - BESIDE, 30 + BESIDE), *range(55 - BESIDE, 55 + BESIDE + 1)]
    np.testing.assert_array_equal(assessment.masks, whole.masks)
    for one, other in zip(assessment.record["frames"], whole.record["frames"]):
        if one["index"] in looked:
            assert one == other
        elif not one["padding"]:
            fields = {name: one[name] for name in ("quality", "positive", "interpolated", "guessed_by")}
            assert fields == {"quality": 0.01, "positive": None, "interpolated": True, "guessed_by": "student"}
    assert assessment.record["ranking"] == whole.record["ranking"]
    assert assessment.record["student"] == "f" * 64


def test_a_case_in_which_nothing_is_found_is_looked_at_as_a_whole() -> None:
    sweep = a_sweep(dict.fromkeys(range(20, 30), AXES))
    done: list[tuple[int, int]] = []
    student = a_student(lambda frame: 0.9 if frame == 60 else 0.0)
    assessment = assess(
        sweep, brightness_predictor(), SCREEN, student=student, progress=lambda *at: done.append(at)
    )
    assert assessment.record["frames"] == assess(sweep, brightness_predictor()).record["frames"]
    assert done[-1] == (70, 70)


@pytest.mark.parametrize(
    ("student", "sentence"),
    [(None, "no student"), (a_student(lambda _: 1.0, None), "not shown to recognise")],
)
def test_without_a_student_that_can_do_it_nothing_is_screened(student, sentence) -> None:
    with pytest.raises(OptionError, match=f"screen: .*{sentence}.*fetaliqa distill"):
        assess(a_sweep({}), brightness_predictor(), SCREEN, student=student)


def test_screening_and_searching_are_told_apart() -> None:
    with pytest.raises(OptionError, match="search and screen"):
        AssessOptions.from_request({"search": True, "screen": True})
    with pytest.raises(OptionError, match="screen is 1; it must be true or false"):
        AssessOptions.from_request({"screen": 1})
    with pytest.raises(OptionError, match="neither a threshold"):
        AssessmentService("demo").made_with(AssessOptions(screen=True, threshold=0.4))


def known(positive: list[int], trusted: float) -> KnownSweep:
    shown = np.isin(np.arange(100), positive)
    return KnownSweep(shown * 0.8, shown, np.where(shown, trusted, np.linspace(0, 0.012, 100)))


def test_the_lowest_floor_that_is_affordable_is_chosen() -> None:
    floor, figures = choose_screen_floor([[known([40, 41], 0.3), known([], 0.3)]])
    # 0.01 leaves in 17 guesses a sweep; 0.015 and more are the fewest looks
    assert floor == 0.015
    assert (figures["positive_frames"], figures["found"], figures["sweeps_with_all_found"]) == (2, 2, 1)
    assert figures["share_looked_at"] == pytest.approx((2 + 2 * BESIDE + 1) / 200, abs=0.005)


def test_a_student_that_misses_frames_at_any_price_worth_it_does_not_screen() -> None:
    assert choose_screen_floor([[known([40, 60], 0.0001), known([10], 0.3)]]) == (None, {})
    assert choose_screen_floor([[known([], 0.3)]]) == (None, {})  # nothing can be said


def test_a_replay_counts_what_was_found_and_the_whole_look_at_a_case_in_vain() -> None:
    shown = np.isin(np.arange(50), [10, 11, 12, 30])
    one = KnownSweep(shown * 0.8, shown, np.where(np.arange(50) == 11, 0.9, 0.0))
    nothing = KnownSweep(np.zeros(20), np.zeros(20, bool), np.zeros(20))
    first, second = replay_screens([one, nothing], 0.05)
    assert (first.frames, first.looked_at, first.positive, first.found) == (50, 3 + 2 * BESIDE, 4, 3)
    assert (second.frames, second.looked_at, second.positive, second.found) == (20, 1, 0, 0)
    (alone,) = replay_screens([nothing], 0.05)
    assert alone.looked_at == 20
