"""Which frames of a sweep the large model looks at when a student has guessed the quality of all of them.

Those come first that the student likes best. A frame that turns out better than guessed raises the guesses of its
neighbours, since quality changes gradually along a sweep. (One that turns out worse lowers none: beside a frame
that the large model just misses, it may find the next.) The search ends when no frame that was not looked at can
plausibly win: the student guesses it to be hopeless, or the guess and the margin do not reach the best one found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

AT_ONCE = 3  # frames of a sweep in each round: batches are full, and later choices know more
REACH = 1.5  # frames over which what was found out fades to 1/e
BUDGET = 0.3  # of a sweep's frames, at most, as without a student


@dataclass(frozen=True)
class ScreenLimits:
    """How far a student's guesses are trusted, chosen on held-out cases.

    Attributes:
        floor: a frame guessed to be at most this good is hopeless; one of a sweep is looked at nevertheless.
        margin: most that a frame is taken to be better than guessed.
        screen_floor: a frame guessed to be at most this good does not show the anatomy (see ``student.screen``);
            None: nothing is known, or none is good enough.
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
        frames: int [N], numbers of the frames that may be looked at, ascending.
        guessed: float [N], the student's guesses of their quality.
        limits: how far these are trusted.
    """

    frames: np.ndarray
    guessed: np.ndarray
    limits: ScreenLimits

    def wanted(self, quality: Mapping[int, float]) -> list[int]:
        """Frame numbers to look at next; none when no other can plausibly win.

        Args:
            quality: of the frames looked at so far, by number.
        """
        seen = self._seen(quality)
        if not seen.any():
            first = np.argsort(-self.guessed, kind="stable")[:AT_ONCE]
            hopeful = first[self.guessed[first] > self.limits.floor]
            return sorted(int(self.frames[place]) for place in (hopeful if len(hopeful) else first[:1]))
        left = int(np.ceil(BUDGET * len(self.frames))) - int(seen.sum())
        if left <= 0:
            return []
        guesses = self._raised(seen, quality)
        best = max(quality[int(frame)] for frame in self.frames[seen])
        places = np.flatnonzero(~seen & (guesses > self.limits.floor) & (guesses + self.limits.margin > best))
        order = places[np.argsort(-guesses[places], kind="stable")]
        return sorted(int(self.frames[place]) for place in order[: min(AT_ONCE, left)])

    def rest(self, quality: Mapping[int, float]) -> dict[int, float]:
        """Quality of the frames that were not looked at, as far as it is guessed now, by number."""
        seen = self._seen(quality)
        guesses = self._raised(seen, quality) if seen.any() else self.guessed
        return {int(self.frames[place]): round(float(guesses[place]), 5) for place in np.flatnonzero(~seen)}

    def _seen(self, quality: Mapping[int, float]) -> np.ndarray:
        return np.array([int(frame) in quality for frame in self.frames], bool)

    def _raised(self, seen: np.ndarray, quality: Mapping[int, float]) -> np.ndarray:
        """The guesses, raised near frames that are better than guessed; float [N], 0 to 1."""
        known = self.frames[seen]
        better = np.array([quality[int(frame)] for frame in known]) - self.guessed[seen]
        away = np.abs(self.frames[:, None] - known)
        nearest, places = away.argmin(axis=1), np.arange(len(self.frames))
        raised = np.maximum(better[nearest], 0) * np.exp(-away[places, nearest] / REACH)
        return np.clip(self.guessed + raised, 0, 1)
