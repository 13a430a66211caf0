"""Which frames of a sweep to look at when its best one is asked for: a few everywhere, then around the peaks.

Quality changes gradually along a sweep, since the probe moves gradually. So a frame that was not looked at is
hardly better than those looked at on both sides, plus what a few steps of the probe can bring. What cannot win by
that is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

STEP = 5  # frames between those looked at first, at most; the abdomen shows on 7 in a row in ACOUSLIC-AI (median)
LOOKS = 20  # first of all at as many; a sweep of fewer frames is not shorter, its frames are farther apart
RISE = 0.08  # most that quality is taken to rise from one frame to the next
BUDGET = 0.3  # of a sweep's frames, at most; those without anatomy need fewer
LEAST_BUDGET = 30  # frames; of a short sweep a small share would be too few
PROMISING = 0.05  # quality at or below which a sweep's peak is no anatomy, but noise
AT_ONCE = 3  # frames of a sweep in each round: batches are full, and later choices know more


class Search(Protocol):
    """A search in one sweep, with or without a student."""

    @property
    def frames(self) -> np.ndarray:
        """Numbers of the frames that may be looked at, int [N], ascending."""

    def wanted(self, quality: Mapping[int, float]) -> list[int]:
        """Frame numbers to look at next, given the quality of those looked at by number; none at the end."""

    def rest(self, quality: Mapping[int, float]) -> dict[int, float]:
        """Guessed quality of the frames that were not looked at, by number."""


@dataclass(frozen=True)
class SweepSearch:
    """The search in one sweep, without a student.

    Attributes:
        frames: int [N], numbers of the frames that may be looked at, ascending.
    """

    frames: np.ndarray

    def wanted(self, quality: Mapping[int, float]) -> list[int]:
        """Frame numbers to look at next; none when no other can plausibly win.

        Args:
            quality: of the frames looked at so far, by number.
        """
        count = len(self.frames)
        step = min(STEP, max(1, count // LOOKS))
        first = [int(frame) for frame in self.frames[min(step // 2, (count - 1) // 2) :: step]]
        if missing := [frame for frame in first if frame not in quality]:
            return missing  # all of them at first; fewer where a student had some looked at in vain
        seen = np.array([int(frame) in quality for frame in self.frames], bool)
        left = max(int(np.ceil(BUDGET * count)), LEAST_BUDGET) - int(seen.sum())
        if left <= 0 or seen.all():
            return []
        places = np.flatnonzero(seen)
        values = np.array([quality[int(self.frames[place])] for place in places])
        best = float(values.max())
        if best <= PROMISING:
            return []
        chosen: list[tuple[float, int]] = []
        for before, after in zip((-1, *range(len(places))), (*range(len(places)), -1)):
            found = self._most_promising(places, values, before, after)
            if found is not None and found[0] > best:
                chosen.append(found)
        chosen.sort(key=lambda one: (-one[0], one[1]))
        return sorted(int(self.frames[place]) for _, place in chosen[: min(AT_ONCE, left)])

    def rest(self, quality: Mapping[int, float]) -> dict[int, float]:
        """Quality of the frames that were not looked at, between those that were, by number."""
        return interpolated(self.frames, quality)

    def _most_promising(
        self, places: np.ndarray, values: np.ndarray, before: int, after: int
    ) -> tuple[float, int] | None:
        """The frame between two that were looked at (-1: the sweep's end) that could be best, and how good."""
        first = 0 if before < 0 else int(places[before]) + 1
        stop = len(self.frames) if after < 0 else int(places[after])
        if first >= stop:
            return None
        between = np.arange(first, stop)
        bound = np.full(len(between), np.inf)
        for side in (before, after):
            if side >= 0:
                away = np.abs(self.frames[between] - self.frames[places[side]])
                bound = np.minimum(bound, values[side] + RISE * away)
        number = int(bound.argmax())
        return float(bound[number]), int(between[number])


def interpolated(frames: np.ndarray, quality: Mapping[int, float]) -> dict[int, float]:
    """Quality of the frames that were not looked at, between those of the same sweep that were.

    Args:
        frames: int [N], numbers of one sweep's frames, ascending.
        quality: of those looked at, by number.
    """
    known = [int(frame) for frame in frames if int(frame) in quality]
    missing = [int(frame) for frame in frames if int(frame) not in quality]
    if not known:
        return {}
    values = np.interp(missing, known, [quality[frame] for frame in known])
    return dict(zip(missing, (round(float(value), 5) for value in values)))
