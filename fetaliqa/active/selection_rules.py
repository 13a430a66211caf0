"""Rules common to all query strategies: how many frames per case and sweep, and how far apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from fetaliqa.active.frame_pool import Pool
from fetaliqa.errors import OptionError

GAP = 15  # frames; the ACOUSLIC-AI challenge takes a plane this far from an annotated one to be another
MAX_FRAMES = 100


@dataclass(frozen=True)
class QuerySettings:
    """Settings of a query.

    Attributes:
        frames: most frames of the case.
        per_sweep: most frames of one sweep.
        gap: least distance, in frames, to any frame of the sweep that is labelled or picked.
        seed: of all random draws; the same seed and labels give the same answer.
    """

    frames: int = 8
    per_sweep: int = 2
    gap: int = GAP
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "frames": (1, MAX_FRAMES),
            "per_sweep": (1, MAX_FRAMES),
            "gap": (1, 1000),
            "seed": (0, 2**32 - 1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise OptionError(f"{name} is {value!r}; a whole number from {low} to {high} is needed")


@dataclass(frozen=True)
class Pick:
    """A suggested frame.

    Attributes:
        index: of the frame in the pool.
        reason: shown to the annotator.
        score: selection score; comparable within one answer only.
    """

    index: int
    reason: str
    score: float


def eligible(pool: Pool, gap: int) -> np.ndarray:
    """bool [N]: frames that may be offered, ``gap`` or more frames from every labelled one of their sweep."""
    return pool.offered & ~near(pool, np.flatnonzero(pool.labelled), gap)


def near(pool: Pool, chosen: np.ndarray, gap: int) -> np.ndarray:
    """bool [N]: frames less than ``gap`` frames from one of the chosen indices, in the same sweep."""
    mask = np.zeros(len(pool), bool)
    mask[chosen] = True
    group = pool.group()
    for offset in (*range(-gap + 1, 0), *range(1, gap)):
        others = chosen + offset
        inside = (others >= 0) & (others < len(pool))
        others, origin = others[inside], chosen[inside]
        same = (group[others] == group[origin]) & (np.abs(pool.frame[others] - pool.frame[origin]) < gap)
        mask[others[same]] = True
    return mask


@dataclass
class Basket:
    """Suggested frames of one case, and the check of further ones.

    Args:
        pool: the frames.
        settings: the rules.
    """

    pool: Pool
    settings: QuerySettings
    picks: list[Pick] = field(default_factory=list)
    _sweeps: Counter[int] = field(default_factory=Counter)

    @property
    def full(self) -> bool:
        """Whether no more frames are wanted."""
        return len(self.picks) >= self.settings.frames

    def fits(self, index: int) -> bool:
        """Whether a frame may join those picked; labelled frames are checked by ``eligible``."""
        pool, sweep = self.pool, int(self.pool.sweep[index])
        if self.full or self._sweeps[sweep] >= self.settings.per_sweep:
            return False
        return all(
            int(pool.sweep[pick.index]) != sweep
            or abs(int(pool.frame[pick.index]) - int(pool.frame[index])) >= self.settings.gap
            for pick in self.picks
        )

    def add(self, index: int, reason: str, score: float) -> bool:
        """Add a frame if it fits; return whether it was added."""
        index = int(index)
        if not self.fits(index):
            return False
        self.picks.append(Pick(index, reason, float(score)))
        self._sweeps[int(self.pool.sweep[index])] += 1
        return True

    def fill(self, ordered: Iterable[int], reason: str, scores: np.ndarray | None = None, count: int = 0) -> None:
        """Add frames in order while they fit; at most ``count``, 0 for no limit.

        Args:
            ordered: indices, the best first.
            reason: of all of them.
            scores: by index into the pool; None: 0.
        """
        taken = 0
        for index in ordered:
            if self.full or (count and taken >= count):
                return
            taken += self.add(int(index), reason, 0.0 if scores is None else float(scores[index]))
