"""Choice of the screening floor: below which guessed quality a frame is skipped, by replay on held-out cases."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fetaliqa.inference.frame_screening import Screen, wanted_in_case
from fetaliqa.lab.distillation.search_limits import BUDGET_FACTOR, KnownSweep

MIN_FOUND = 0.995  # least recall of the frames positive by the teacher
MAX_SHARE = 0.5  # most frames that the teacher assesses, as a share
FLOORS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07)


@dataclass(frozen=True)
class ScreenReplay:
    """Screening of one sweep: numbers of frames, assessed frames, positive frames, and positive frames found."""

    frames: int
    looked_at: int
    positive: int
    found: int


def replay_screens(sweeps: Sequence[KnownSweep], floor: float) -> list[ScreenReplay]:
    """Screen the sweeps of a case whose teacher outputs are known."""
    starts = np.cumsum([0, *(len(one.positive) for one in sweeps)])
    numbers = [np.arange(start, stop) for start, stop in itertools.pairwise(starts)]
    screens = [Screen(frames, one.guessed, floor) for frames, one in zip(numbers, sweeps)]
    positive = np.concatenate([one.positive for one in sweeps])
    seen: dict[int, bool] = {}
    while wanted := wanted_in_case(screens, seen):
        seen |= {frame: bool(positive[frame]) for frame in wanted}
    looked = np.isin(np.arange(len(positive)), list(seen))
    return [
        ScreenReplay(
            len(frames),
            int(looked[frames].sum()),
            int(positive[frames].sum()),
            int((positive & looked)[frames].sum()),
        )
        for frames in numbers
    ]


def screening_figures(replays: Sequence[ScreenReplay]) -> dict[str, Any]:
    """Recall of positive frames, and the share of frames assessed, as JSON values."""
    shown = [one for one in replays if one.positive]
    return {
        "positive_frames": sum(one.positive for one in replays),
        "found": sum(one.found for one in replays),
        "sweeps_with_positive_frames": len(shown),
        "sweeps_with_all_found": sum(one.found == one.positive for one in shown),
        "share_looked_at": round(sum(one.looked_at for one in replays) / sum(one.frames for one in replays), 4),
    }


def choose_screen_floor(cases: Sequence[Sequence[KnownSweep]]) -> tuple[float | None, dict[str, Any]]:
    """The lowest floor within the budget, and its figures on the sweeps of these cases.

    The budget is ``BUDGET_FACTOR`` times the fewest assessed frames with a recall of ``MIN_FOUND``.

    Returns:
        None and no figures where no floor reaches that recall with ``MAX_SHARE`` of the frames or fewer, or no
        frame is positive.
    """
    tried = []
    for floor in FLOORS:
        replays = [one for case in cases for one in replay_screens(case, floor)]
        tried.append((floor, screening_figures(replays)))
    good = [figures for _, figures in tried if figures["found"] >= MIN_FOUND * figures["positive_frames"] > 0]
    fewest = min((figures["share_looked_at"] for figures in good), default=1.0)
    if fewest > MAX_SHARE:
        return None, {}
    most = min(BUDGET_FACTOR * fewest, MAX_SHARE)
    return next(
        (floor, figures) for floor, figures in tried if figures in good and figures["share_looked_at"] <= most
    )
