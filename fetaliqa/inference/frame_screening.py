"""Which frames of a case the large model looks at when all that show the anatomy are asked for.

Every frame that the student does not call hopeless, then those beside what turned out to show the anatomy, since
it shows on frames in a row: a run is followed to where the large model sees nothing on both of its sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fetaliqa.measure.frame_ranking import REACH

# Frames on either side of one that shows the anatomy are looked at, whatever the student thinks of them: all that
# count when it is ranked, so that it is ranked as in a whole assessment.
BESIDE = REACH


@dataclass(frozen=True, eq=False)
class Screen:
    """The choice in one sweep.

    Attributes:
        frames: int [N], numbers of the frames that may be looked at, ascending.
        guessed: float [N], the student's guesses of their quality.
        floor: a frame guessed to be at most this good is hopeless; one of a sweep is looked at nevertheless.
    """

    frames: np.ndarray
    guessed: np.ndarray
    floor: float

    def wanted(self, positive: Mapping[int, bool]) -> list[int]:
        """Frame numbers to look at next; none at the end.

        Args:
            positive: whether a frame that was looked at shows the anatomy, by number.
        """
        seen = np.array([int(frame) in positive for frame in self.frames], bool)
        hopeful = self.guessed > self.floor
        if not hopeful.any():
            hopeful[self.guessed.argmax()] = True
        shown = np.array([positive.get(int(frame), False) for frame in self.frames], bool)
        beside = (np.abs(self.frames[:, None] - self.frames[shown]) <= BESIDE).any(axis=1)
        return [int(frame) for frame in self.frames[(hopeful | beside) & ~seen]]

    def rest(self, seen: Mapping[int, object]) -> dict[int, float]:
        """The guesses of the frames that were not looked at, by number; at most ``floor``."""
        values = zip(self.frames.tolist(), self.guessed.tolist())
        return {frame: round(value, 5) for frame, value in values if frame not in seen}


def wanted_in_case(screens: Sequence[Screen], positive: Mapping[int, bool]) -> list[int]:
    """Frame numbers to look at next in all sweeps of a case, ascending; none at the end.

    A student that was made on other sweeps may call every frame of a case hopeless. So of a case in which nothing
    was found with its help every frame is looked at.
    """
    wanted = [frame for screen in screens for frame in screen.wanted(positive)]
    if not wanted and not any(positive.values()):
        wanted = [frame for screen in screens for frame in screen.frames.tolist() if frame not in positive]
    return sorted(wanted)
