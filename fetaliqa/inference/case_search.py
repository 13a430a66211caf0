"""The search in all sweeps of a case together: with a student, and without one where that is no help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fetaliqa.inference.best_frame_search import Search, SweepSearch
from fetaliqa.inference.screened_search import ScreenedSearch
from fetaliqa.inference.student import Student
from fetaliqa.sweep import Sweep

Fields = Mapping[int, Mapping[str, Any]]  # of the frames looked at so far, by number; see docs/assessment.md


class CaseSearch:
    """What to look at next in a case, and what is guessed of the rest.

    A student that was made on other sweeps may call every frame of a case hopeless. So a case in which nothing was
    found with its help is searched without it as well.

    Args:
        sweep: the frames.
        indices: int [N], numbers of those that may be looked at, ascending.
        student: what guesses their quality first; None: every few frames are looked at first.
    """

    def __init__(self, sweep: Sweep, indices: np.ndarray, student: Student | None) -> None:
        self._parts = parts_of(sweep, indices)
        self._searches: Sequence[Search]
        self._screened = student is not None
        if student is None:
            self._searches = self._without()
        else:
            limits = student.limits
            self._searches = [ScreenedSearch(part, student.guess(sweep, part), limits) for part in self._parts]

    def wanted(self, fields: Fields) -> np.ndarray:
        """Frame numbers to look at next, ascending; none when no other can plausibly be a sweep's best."""
        wanted = self._wanted(fields)
        if not wanted and self._screened and not any(found["positive"] for found in fields.values()):
            self._searches, self._screened = self._without(), False
            wanted = self._wanted(fields)
        return np.array(sorted(wanted), int)

    def guesses(self, fields: Fields) -> dict[int, dict[str, Any]]:
        """Fields of the frames that were not looked at."""
        quality = _quality(fields)
        rest = {frame: value for search in self._searches for frame, value in search.rest(quality).items()}
        return guessed_fields(rest, "student" if self._screened else "neighbours")

    def _without(self) -> list[SweepSearch]:
        return [SweepSearch(part) for part in self._parts]

    def _wanted(self, fields: Fields) -> list[int]:
        quality = _quality(fields)
        return [frame for search in self._searches for frame in search.wanted(quality)]


def parts_of(sweep: Sweep, indices: np.ndarray) -> list[np.ndarray]:
    """Of frame numbers, int [N] ascending, those of each sweep that has any."""
    parts = [indices[(indices >= start) & (indices < stop)] for start, stop in sweep.ranges]
    return [part for part in parts if len(part)]


def guessed_fields(quality: Mapping[int, float], guessed_by: str) -> dict[int, dict[str, Any]]:
    """Fields of frames that were not looked at, from their guessed quality."""
    how = {"positive": None, "interpolated": True, "guessed_by": guessed_by}
    return {frame: {"quality": value, **how} for frame, value in quality.items()}


def _quality(fields: Fields) -> dict[int, float]:
    return {frame: float(found["quality"]) for frame, found in fields.items()}
