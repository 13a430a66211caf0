"""Search for the best frame of a sweep, given the quality of all frames as predicted by a student.

Frames are assessed in the order of their predicted quality. A frame that is better than predicted raises the
predictions of its neighbours, since quality changes gradually along a sweep. A frame that is worse lowers none:
the large model may miss one frame and find the next. The search ends when no other frame can be the best: its
prediction is at most the floor, or prediction plus margin do not exceed the best quality so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

AT_ONCE = 3  # frames per sweep and round: fills batches, and later rounds use the results of earlier ones
REACH = 1.5  # frames over which a correction of the predictions decays to 1/e
BUDGET = 0.3  # largest share of a sweep's frames to assess, as without a screening model


@dataclass(frozen=True)
class ScreenLimits:
    """Limits of a screening model's predictions, chosen on held-out cases.

    Attributes:
        floor: predicted quality up to which frames are skipped; at least one frame per sweep is assessed.
        margin: largest assumed difference of a frame's quality above its prediction.
        screen_floor: predicted quality up to which a frame is taken not to show the anatomy (see
            ``frame_screening``); None if no value is accurate enough, or none was determined.
    """

    floor: float
    margin: float
    screen_floor: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; 0 to 1 is accepted")


@dataclass(frozen=True, eq=False)
class ScreenedSearch:
    """The search in one sweep.

    Attributes:
        frames: int [N], numbers of the candidate frames, ascending.
        guessed: float [N], their quality predicted by the screening model.
        limits: limits of these predictions.
    """

    frames: np.ndarray
    guessed: np.ndarray
    limits: ScreenLimits

    def wanted(self, quality: Mapping[int, float]) -> list[int]:
        """Frame numbers to assess next; empty when no other frame can be the best.

        Args:
            quality: quality of the frames assessed so far, by number.
        """
        assessed = self._assessed(quality)
        if not assessed.any():
            first = np.argsort(-self.guessed, kind="stable")[:AT_ONCE]
            selected = first[self.guessed[first] > self.limits.floor]
            return sorted(int(self.frames[place]) for place in (selected if len(selected) else first[:1]))
        remaining = int(np.ceil(BUDGET * len(self.frames))) - int(assessed.sum())
        if remaining <= 0:
            return []
        predicted = self._raised(assessed, quality)
        best = max(quality[int(frame)] for frame in self.frames[assessed])
        places = np.flatnonzero(
            ~assessed & (predicted > self.limits.floor) & (predicted + self.limits.margin > best)
        )
        order = places[np.argsort(-predicted[places], kind="stable")]
        return sorted(int(self.frames[place]) for place in order[: min(AT_ONCE, remaining)])

    def rest(self, quality: Mapping[int, float]) -> dict[int, float]:
        """Current predicted quality of the frames that were not assessed, by number."""
        assessed = self._assessed(quality)
        predicted = self._raised(assessed, quality) if assessed.any() else self.guessed
        return {int(self.frames[place]): round(float(predicted[place]), 5) for place in np.flatnonzero(~assessed)}

    def _assessed(self, quality: Mapping[int, float]) -> np.ndarray:
        return np.array([int(frame) in quality for frame in self.frames], bool)

    def _raised(self, assessed: np.ndarray, quality: Mapping[int, float]) -> np.ndarray:
        """The predictions, raised near frames that are better than predicted; float [N], 0 to 1."""
        numbers = self.frames[assessed]
        better = np.array([quality[int(frame)] for frame in numbers]) - self.guessed[assessed]
        away = np.abs(self.frames[:, None] - numbers)
        nearest, places = away.argmin(axis=1), np.arange(len(self.frames))
        raised = np.maximum(better[nearest], 0) * np.exp(-away[places, nearest] / REACH)
        return np.clip(self.guessed + raised, 0, 1)
