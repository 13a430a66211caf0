"""Masks carried along phantom sweeps, against the phantom's own outlines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fetaliqa.inference.interactive_segmentation import InteractiveSegmenter
from fetaliqa.inference.propagation import CarriedMask, StopRule, propagate, why_stop
from fetaliqa.lab.interactive.prompt_samples import PhantomRun, phantom_runs
from fetaliqa.lab.phantom.phantom_settings import PhantomSettings

BEYOND = 25  # frames before and after the annotated ones that are rendered: more than a rule lets pass
NEVER = StopRule(least_dice=0.0, gone_dice=0.0, most_change=1e9, most_drift=1e9)


@dataclass(frozen=True, eq=False)
class CarriedRun:
    """A mask carried from the middle of an annotated run both ways, without a stop rule.

    Attributes:
        first_area: pixels of the mask that was carried.
        ways: for each way, the carried masks in the order in which they were made.
        dices: for each way, the Dice of each mask; NaN on frames beyond the annotated run.
        annotated: annotated frames of the run besides the first one.
    """

    first_area: int
    ways: tuple[list[CarriedMask], list[CarriedMask]]
    dices: tuple[list[float], list[float]]
    annotated: int


def carried_runs(
    segmenter: InteractiveSegmenter, seeds: Sequence[int], settings: PhantomSettings
) -> Iterator[CarriedRun]:
    """Carry the outline of the middle annotated frame along each annotated sweep of phantom cases."""
    for seed in seeds:
        for run in phantom_runs([seed], settings, BEYOND):
            yield _carried(segmenter, run)


def _carried(segmenter: InteractiveSegmenter, run: PhantomRun) -> CarriedRun:
    shown = run.masks.any(axis=(1, 2))
    numbers = np.flatnonzero(shown)
    # a sweep may have two annotated runs: the one around the middle frame counts
    start = int(numbers[len(numbers) // 2])
    low, high = start, start
    while low > 0 and shown[low - 1]:
        low -= 1
    while high + 1 < len(shown) and shown[high + 1]:
        high += 1

    carried = propagate(
        segmenter,
        lambda frame: segmenter.encode(run.images[frame]),
        start,
        run.masks[start],
        (0, len(shown)),
        limit=1000,
        rule=NEVER,
    )
    forward = [one for one in carried.frames if one.frame > start]
    backward = [one for one in carried.frames if one.frame < start][::-1]

    def dice(one: CarriedMask) -> float:
        if not low <= one.frame <= high:
            return float("nan")
        truth = run.masks[one.frame]
        return 2 * int((truth & one.mask).sum()) / max(1, int(truth.sum()) + int(one.mask.sum()))

    ways = (forward, backward)
    return CarriedRun(
        int(run.masks[start].sum()),
        ways,
        ([dice(one) for one in forward], [dice(one) for one in backward]),
        high - low,
    )


def figures(runs: Sequence[CarriedRun], rule: StopRule) -> dict[str, float | int]:
    """What a stop rule makes of carried runs."""
    dices: list[float] = []
    for run in runs:
        for way, known in zip(run.ways, run.dices):
            previous = run.first_area
            for one, value in zip(way, known):
                area = int(one.mask.sum())
                if why_stop(area, previous, run.first_area, one.expected_dice, rule) is not None:
                    break
                dices.append(value)
                previous = area
    values = np.array(dices)
    beyond = np.isnan(values)
    annotated = sum(run.annotated for run in runs)
    return {
        "sweeps": len(runs),
        "carried": len(values),
        "beyond_the_end": int(beyond.sum()),
        "beyond_share": round(float(beyond.mean()) if len(values) else 0.0, 4),
        "dice_mean": round(float(values[~beyond].mean()) if (~beyond).any() else 0.0, 4),
        "dice_least": round(float(values[~beyond].min()) if (~beyond).any() else 0.0, 4),
        "annotated": annotated,
        "reached_share": round(float((~beyond).sum() / max(1, annotated)), 4),
    }
