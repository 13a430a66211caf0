"""Choice of the student's search limits, by replaying the search on fully assessed held-out cases."""

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

TOLERANCE = 0.01  # difference in quality up to which a frame counts as the best
MIN_FOUND = 0.99  # of the held-out sweeps; above the goal of 98 %, since limits are chosen on them
BUDGET_FACTOR = 1.5  # times the fewest assessed frames: a margin, since limits are chosen on the same sweeps
MAX_SHARE = 0.2  # most frames assessed, as a share; without a student it is about 0.22
FLOORS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2)
MARGINS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, eq=False)
class KnownSweep:
    """A fully assessed sweep: the teacher's quality and decision, and the student's guess; arrays of [N]."""

    quality: np.ndarray
    positive: np.ndarray
    guessed: np.ndarray


@dataclass(frozen=True)
class Replay:
    """Search in one sweep.

    Attributes:
        frames: of the sweep.
        looked_at: assessed by the teacher.
        best: best frame by a full assessment, or None.
        found: whether the search gives it or one at most ``TOLERANCE`` worse, or neither gives one.
    """

    frames: int
    looked_at: int
    best: int | None
    found: bool


def replay(search: Search, quality: np.ndarray, positive: np.ndarray) -> Replay:
    """Search in a fully assessed sweep: quality float [N] and decision bool [N], frames from 0."""
    count = len(quality)
    seen: dict[int, float] = {}
    while wanted := search.wanted(seen):
        seen |= {frame: float(quality[frame]) for frame in wanted}
    estimates = {**search.rest(seen), **seen}
    looked = np.array([frame in seen for frame in range(count)], bool)
    offered = rank_frames(
        np.array([estimates[frame] for frame in range(count)]), positive & looked, [(0, count)]
    ).best
    best = rank_frames(quality, positive, [(0, count)]).best
    return Replay(count, len(seen), best, is_found(best, offered, quality))


def is_found(best: int | None, offered: int | None, quality: Sequence[float] | np.ndarray) -> bool:
    """Whether a search gives the best frame of a full assessment, within ``TOLERANCE``; or neither gives one.

    Args:
        best: frame number by the full assessment.
        offered: frame number by the search.
        quality: by frame number.
    """
    if best is None or offered is None:
        return best is offered
    return bool(quality[best] - quality[offered] <= TOLERANCE)


def figures(replays: Sequence[Replay]) -> dict[str, Any]:
    """How many best frames were found, and the share of frames assessed, as JSON values."""
    with_best = [one for one in replays if one.best is not None]
    return {
        "sweeps": len(replays),
        "found": sum(one.found for one in replays),
        "sweeps_with_a_best_frame": len(with_best),
        "found_of_those": sum(one.found for one in with_best),
        "share_looked_at": round(sum(one.looked_at for one in replays) / sum(one.frames for one in replays), 4),
    }


def choose_limits(sweeps: Sequence[KnownSweep]) -> tuple[ScreenLimits, dict[str, Any]]:
    """The most conservative limits within the budget, and their figures on these sweeps.

    The budget is ``BUDGET_FACTOR`` times the fewest assessed frames that find ``MIN_FOUND`` of the best frames.
    Within it, limits are ordered by best frames found, then by the lowest floor, then by the largest margin.

    Raises:
        TrainingError: when no limits reach that, or only with about as many frames as without a student.
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
    good = [one for one in tried if one[1]["found"] >= MIN_FOUND * len(sweeps)]
    if not good:
        most = max(result["found"] for _, result in tried)
        raise TrainingError(
            f"this student finds the best frame in at most {most} of {len(sweeps)} held-out sweeps; "
            f"{MIN_FOUND:.0%} are needed; distil from more cases"
        )
    fewest = min(result["share_looked_at"] for _, result in good)
    if fewest > MAX_SHARE:
        raise TrainingError(
            f"with this student the search assesses {fewest:.0%} of the frames, about as many as without one; "
            "distil from more cases"
        )
    affordable = [one for one in good if one[1]["share_looked_at"] <= min(BUDGET_FACTOR * fewest, MAX_SHARE)]
    return max(affordable, key=lambda one: (one[1]["found"], -one[0].floor, one[0].margin))
