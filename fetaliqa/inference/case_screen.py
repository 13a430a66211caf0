"""Screening of a case: selects the frames to assess by a screening model's predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.inference.case_search import Fields, guessed_fields, parts_of
from fetaliqa.inference.frame_screening import Screen, wanted_in_case
from fetaliqa.sweep import Sweep

if TYPE_CHECKING:
    from fetaliqa.inference.student import Student


def screen_floor(student: Student | None) -> float:
    """Predicted quality up to which frames are skipped.

    Raises:
        OptionError: without a screening model, or when its accuracy for this was not shown.
    """
    if student is None:
        raise OptionError(
            "screen: this model has no student to screen frames; make one with `fetaliqa distill --student`, or "
            "assess every frame"
        )
    floor = student.limits.screen_floor
    if floor is None:
        raise OptionError(
            "screen: this model's student was not shown to recognise frames with the anatomy; move it away and "
            "distil one from more cases with `fetaliqa distill --student`, or assess every frame"
        )
    return floor


class CaseScreen:
    """Screening in all sweeps of a case: the frames to assess next, and the predicted fields of the others.

    Args:
        sweep: the frames.
        indices: int [N], numbers of the candidate frames, ascending.
        student: the screening model.

    Raises:
        OptionError: see :func:`screen_floor`.
    """

    def __init__(self, sweep: Sweep, indices: np.ndarray, student: Student | None) -> None:
        floor = screen_floor(student)
        assert student is not None
        self._screens = [Screen(part, student.guess(sweep, part), floor) for part in parts_of(sweep, indices)]

    def wanted(self, fields: Fields) -> np.ndarray:
        """Frame numbers to assess next, ascending; empty when all selected frames are assessed."""
        positive = {frame: bool(record["positive"]) for frame, record in fields.items()}
        return np.array(wanted_in_case(self._screens, positive), int)

    def guesses(self, fields: Fields) -> dict[int, dict[str, Any]]:
        """Fields of the frames that were not assessed."""
        quality = {frame: value for screen in self._screens for frame, value in screen.rest(fields).items()}
        return guessed_fields(quality, "student")
