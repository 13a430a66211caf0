"""Search for the best frame of a sweep from a subset of its frames: a regular sample first, then around the peaks.

Quality changes gradually along a sweep, since the probe moves gradually. The quality of a frame is therefore
bounded by that of the assessed frames on both sides plus a maximal rise per frame. Frames whose bound is below the
best quality so far are not assessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

STEP = 5  # largest step (frames) of the first sample; the median run with the abdomen has 7 frames in ACOUSLIC-AI
LOOKS = 20  # least size of the first sample: in a sweep of few frames these are farther apart
RISE = 0.08  # largest assumed rise of quality from one frame to the next
BUDGET = 0.3  # largest share of a sweep's frames to assess; sweeps without anatomy need fewer
LEAST_BUDGET = 30  # frames; for short sweeps
PROMISING = 0.05  # a sweep whose highest quality is at most this shows no anatomy
AT_ONCE = 3  # frames per sweep and round: fills batches, and later rounds use the results of earlier ones


class Search(Protocol):
    """A search in one sweep, with or without a screening model."""

    @property
    def frames(self) -> np.ndarray:
        """Numbers of the candidate frames, int [N], ascending."""

    def wanted(self, quality: Mapping[int, float]) -> list[int]:
        """Frame numbers to assess next, given the quality of the assessed frames by number; empty at the end."""

    def rest(self, quality: Mapping[int, float]) -> dict[int, float]:
        """Predicted quality of the frames that were not assessed, by number."""


@dataclass(frozen=True)
class SweepSearch:
    """The search in one sweep, without a screening model.

    Attributes:
        frames: int [N], numbers of the candidate frames, ascending.
    """

    frames: np.ndarray

    def wanted(self, quality: Mapping[int, float]) -> list[int]:
        """Frame numbers to assess next; empty when no other frame can be the best.

        Args:
            quality: quality of the frames assessed so far, by number.
        """
        count = len(self.frames)
        step = min(STEP, max(1, count // LOOKS))
        first = [int(frame) for frame in self.frames[min(step // 2, (count - 1) // 2) :: step]]
        if missing := [frame for frame in first if frame not in quality]:
            return missing  # the whole sample, without frames assessed before in a search with a screening model
        assessed = np.array([int(frame) in quality for frame in self.frames], bool)
        remaining = max(int(np.ceil(BUDGET * count)), LEAST_BUDGET) - int(assessed.sum())
        if remaining <= 0 or assessed.all():
            return []
        places = np.flatnonzero(assessed)
        values = np.array([quality[int(self.frames[place])] for place in places])
        best = float(values.max())
        if best <= PROMISING:
            return []
        candidates: list[tuple[float, int]] = []  # upper bound of the quality, position
        for before, after in zip((-1, *range(len(places))), (*range(len(places)), -1)):
            candidate = self._most_promising(places, values, before, after)
            if candidate is not None and candidate[0] > best:
                candidates.append(candidate)
        candidates.sort(key=lambda candidate: (-candidate[0], candidate[1]))
        return sorted(int(self.frames[place]) for _, place in candidates[: min(AT_ONCE, remaining)])

    def rest(self, quality: Mapping[int, float]) -> dict[int, float]:
        """Quality of the other frames, interpolated between the assessed ones, by number."""
        return interpolated(self.frames, quality)

    def _most_promising(
        self, places: np.ndarray, values: np.ndarray, before: int, after: int
    ) -> tuple[float, int] | None:
        """The frame between two assessed ones (-1: an end of the sweep) with the highest bound, and that bound."""
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
    """Quality of frames that were not assessed, linearly interpolated between assessed ones of the same sweep.

    Args:
        frames: int [N], numbers of one sweep's frames, ascending.
        quality: quality of the assessed frames, by number.
    """
    assessed = [int(frame) for frame in frames if int(frame) in quality]
    missing = [int(frame) for frame in frames if int(frame) not in quality]
    if not assessed:
        return {}
    values = np.interp(missing, assessed, [quality[frame] for frame in assessed])
    return dict(zip(missing, (round(float(value), 5) for value in values)))
