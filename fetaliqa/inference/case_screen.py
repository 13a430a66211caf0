"""The frames of a case that a student does not call hopeless: all that are outlined when it screens them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.inference.case_search import Fields, guessed_fields, parts_of
from fetaliqa.inference.frame_screening import Screen, wanted_in_case
from fetaliqa.inference.student import Student
from fetaliqa.sweep import Sweep


def screen_floor(student: Student | None) -> float:
    """Guess at and below which frames are left out.

    Raises:
        OptionError: when there is no student, it was not found to be good enough for this, or nobody tried.
    """
    if student is None:
        raise OptionError(
            "screen: there is no student that screens frames for this model; make one with "
            "`fetaliqa distill --student`, or assess every frame"
        )
    floor = student.limits.screen_floor
    if floor is None:
        raise OptionError(
            "screen: this model's student is not known to be able to tell which frames show the anatomy; move it "
            "away and distil one from more cases with `fetaliqa distill --student`, or assess every frame"
        )
    return floor


class CaseScreen:
    """What to look at next in a case whose every frame with anatomy is asked for, and what is guessed of the rest.

    Args:
        sweep: the frames.
        indices: int [N], numbers of those that may be looked at, ascending.
        student: what guesses their quality.

    Raises:
        OptionError: see :func:`screen_floor`.
    """

    def __init__(self, sweep: Sweep, indices: np.ndarray, student: Student | None) -> None:
        floor = screen_floor(student)
        assert student is not None
        self._screens = [Screen(part, student.guess(sweep, part), floor) for part in parts_of(sweep, indices)]

    def wanted(self, fields: Fields) -> np.ndarray:
        """Frame numbers to look at next, ascending; none when all that are worth it were looked at."""
        positive = {frame: bool(found["positive"]) for frame, found in fields.items()}
        return np.array(wanted_in_case(self._screens, positive), int)

    def guesses(self, fields: Fields) -> dict[int, dict[str, Any]]:
        """Fields of the frames that were not looked at."""
        rest = {frame: value for screen in self._screens for frame, value in screen.rest(fields).items()}
        return guessed_fields(rest, "student")
