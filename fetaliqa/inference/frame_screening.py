"""Screening of a sweep: selects the frames that the large model assesses, to find all that show the anatomy.

All frames with a predicted quality above a floor are selected, then the neighbours of every frame that shows the
anatomy, since the anatomy is in view on consecutive frames: a run is extended until the large model finds no
    anatomy
on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fetaliqa.measure.frame_ranking import REACH

# Neighbours of a positive frame are always assessed: all that count in its ranking, so that it is ranked as in an
# assessment of all frames.
BESIDE = REACH


@dataclass(frozen=True, eq=False)
class Screen:
    """The selection in one sweep.

    Attributes:
        frames: int [N], numbers of the candidate frames, ascending.
        guessed: float [N], their quality predicted by the screening model.
        floor: predicted quality up to which frames are skipped; at least one frame per sweep is assessed.
    """

    frames: np.ndarray
    guessed: np.ndarray
    floor: float

    def wanted(self, positive: Mapping[int, bool]) -> list[int]:
        """Frame numbers to assess next; empty at the end.

        Args:
            positive: whether an assessed frame shows the anatomy, by number.
        """
        assessed = np.array([int(frame) in positive for frame in self.frames], bool)
        selected = self.guessed > self.floor
        if not selected.any():
            selected[self.guessed.argmax()] = True
        with_anatomy = np.array([positive.get(int(frame), False) for frame in self.frames], bool)
        beside = (np.abs(self.frames[:, None] - self.frames[with_anatomy]) <= BESIDE).any(axis=1)
        return [int(frame) for frame in self.frames[(selected | beside) & ~assessed]]

    def rest(self, assessed: Mapping[int, object]) -> dict[int, float]:
        """The predicted quality of the frames that were not assessed, by number; at most ``floor``."""
        values = zip(self.frames.tolist(), self.guessed.tolist())
        return {frame: round(value, 5) for frame, value in values if frame not in assessed}


def wanted_in_case(screens: Sequence[Screen], positive: Mapping[int, bool]) -> list[int]:
    """Frame numbers to assess next in all sweeps of a case, ascending; empty at the end.

    A screening model trained on other sweeps may reject every frame of a case. If no selected frame is positive,
    all frames are assessed.
    """
    wanted = [frame for screen in screens for frame in screen.wanted(positive)]
    if not wanted and not any(positive.values()):
        wanted = [frame for screen in screens for frame in screen.frames.tolist() if frame not in positive]
    return sorted(wanted)
