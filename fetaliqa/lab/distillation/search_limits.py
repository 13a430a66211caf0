"""How far a student is trusted: the search is replayed on held-out cases that the teacher knows every frame of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fetaliqa.errors import TrainingError
from fetaliqa.inference.best_frame_search import Search
from fetaliqa.inference.screened_search import ScreenedSearch, ScreenLimits
from fetaliqa.measure import rank_frames

TOLERANCE = 0.01  # of quality, within which a frame is as good as the best
ASKED = 0.99  # of the held-out sweeps: more than the goal of 98 %
SPARE = 1.5  # times the fewest looks that reach it are spent, since the limits are chosen on these very sweeps
WORTH_IT = 0.2  # of the frames, at most; without a student it is about 0.22
FLOORS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2)
MARGINS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, eq=False)
class KnownSweep:
    """A sweep whose every frame the teacher has assessed, and the student guessed; arrays of [N]."""

    quality: np.ndarray
    positive: np.ndarray
    guessed: np.ndarray


@dataclass(frozen=True)
class Replay:
    """What a search made of one sweep.

    Attributes:
        frames: that the sweep has.
        looked_at: of them.
        best: what a whole assessment offers, or None.
        found: whether the search offers it, or one that is at most ``TOLERANCE`` worse, or neither offers one.
    """

    frames: int
    looked_at: int
    best: int | None
    found: bool


def replay(search: Search, quality: np.ndarray, positive: np.ndarray) -> Replay:
    """Search in a sweep of known answers, float [N] and bool [N], whose frames are numbered from 0."""
    count = len(quality)
    seen: dict[int, float] = {}
    while wanted := search.wanted(seen):
        seen |= {frame: float(quality[frame]) for frame in wanted}
    known = {**search.rest(seen), **seen}
    looked = np.array([frame in seen for frame in range(count)], bool)
    offered = rank_frames(np.array([known[frame] for frame in range(count)]), positive & looked, [(0, count)]).best
    best = rank_frames(quality, positive, [(0, count)]).best
    return Replay(count, len(seen), best, is_found(best, offered, quality))


def is_found(best: int | None, offered: int | None, quality: Sequence[float] | np.ndarray) -> bool:
    """Whether a search offers what a whole assessment does, one that is hardly worse, or neither offers a frame.

    Args:
        best: frame number by the whole assessment.
        offered: frame number by the search.
        quality: by frame number.
    """
    if best is None or offered is None:
        return best is offered
    return bool(quality[best] - quality[offered] <= TOLERANCE)


def figures(replays: Sequence[Replay]) -> dict[str, Any]:
    """How many sweeps were found, and the share of frames that was looked at, as JSON values."""
    with_best = [one for one in replays if one.best is not None]
    return {
        "sweeps": len(replays),
        "found": sum(one.found for one in replays),
        "sweeps_with_a_best_frame": len(with_best),
        "found_of_those": sum(one.found for one in with_best),
        "share_looked_at": round(sum(one.looked_at for one in replays) / sum(one.frames for one in replays), 4),
    }


def choose_limits(sweeps: Sequence[KnownSweep]) -> tuple[ScreenLimits, dict[str, Any]]:
    """The most careful limits that are affordable, and their figures on these sweeps.

    Affordable is up to ``SPARE`` times the fewest looks that find ``ASKED`` of the sweeps. Careful is what finds
    most, then what calls the fewest frames hopeless, then what trusts the guesses least.

    Raises:
        TrainingError: when none find so many, or it takes about as many looks as without a student.
    """
    tried = []
    for floor, margin in itertools.product(FLOORS, MARGINS):
        limits = ScreenLimits(floor, margin)
        result = figures(
            [
                replay(ScreenedSearch(np.arange(len(one.quality)), one.guessed, limits), one.quality, one.positive)
                for one in sweeps
            ]
        )
        tried.append((limits, result))
    good = [one for one in tried if one[1]["found"] >= ASKED * len(sweeps)]
    if not good:
        most = max(result["found"] for _, result in tried)
        raise TrainingError(
            f"this student finds the best frame of {most} of {len(sweeps)} held-out sweeps at most, "
            f"{ASKED:.0%} are asked for; distil from more cases"
        )
    fewest = min(result["share_looked_at"] for _, result in good)
    if fewest > WORTH_IT:
        raise TrainingError(
            f"with this student {fewest:.0%} of the frames are looked at, about as many as without one; "
            "distil from more cases"
        )
    affordable = [one for one in good if one[1]["share_looked_at"] <= min(SPARE * fewest, WORTH_IT)]
    return max(affordable, key=lambda one: (one[1]["found"], -one[0].floor, one[0].margin))
