"""Search for the best frame in all sweeps of a case, with or without a screening model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fetaliqa.inference.best_frame_search import Search, SweepSearch
from fetaliqa.inference.screened_search import ScreenedSearch
from fetaliqa.sweep import Sweep

if TYPE_CHECKING:
    from fetaliqa.inference.student import Student

Fields = Mapping[int, Mapping[str, Any]]  # fields of the frames assessed so far, by number; see docs/assessment.md


class CaseSearch:
    """The frames to assess next in a case, and the predicted fields of the others.

    A screening model trained on other sweeps may reject every frame of a case. If no positive frame is found with
    it, the case is searched without it too.

    Args:
        sweep: the frames.
        indices: int [N], numbers of the candidate frames, ascending.
        student: screening model that predicts their quality first; None to start from a regular sample.
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
        """Frame numbers to assess next, ascending; empty when no other frame can be a sweep's best."""
        wanted = self._wanted(fields)
        if not wanted and self._screened and not any(record["positive"] for record in fields.values()):
            self._searches, self._screened = self._without(), False
            wanted = self._wanted(fields)
        return np.array(sorted(wanted), int)

    def guesses(self, fields: Fields) -> dict[int, dict[str, Any]]:
        """Fields of the frames that were not assessed."""
        quality = _quality(fields)
        predicted = {frame: value for search in self._searches for frame, value in search.rest(quality).items()}
        return guessed_fields(predicted, "student" if self._screened else "neighbours")

    def _without(self) -> list[SweepSearch]:
        return [SweepSearch(part) for part in self._parts]

    def _wanted(self, fields: Fields) -> list[int]:
        quality = _quality(fields)
        return [frame for search in self._searches for frame in search.wanted(quality)]


def parts_of(sweep: Sweep, indices: np.ndarray) -> list[np.ndarray]:
    """Split frame numbers, int [N] ascending, by sweep; sweeps without any are skipped."""
    parts = [indices[(indices >= start) & (indices < stop)] for start, stop in sweep.ranges]
    return [part for part in parts if len(part)]


def guessed_fields(quality: Mapping[int, float], guessed_by: str) -> dict[int, dict[str, Any]]:
    """Fields of frames that were not assessed, from their predicted quality."""
    how = {"positive": None, "interpolated": True, "guessed_by": guessed_by}
    return {frame: {"quality": value, **how} for frame, value in quality.items()}


def _quality(fields: Fields) -> dict[int, float]:
    return {frame: float(record["quality"]) for frame, record in fields.items()}
