"""How far two raters agree on a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fetaliqa.biometry import fit_outline
from fetaliqa.labels.record import FrameRecord
from fetaliqa.metrics.frames import dice

GRADES = ("none", "suboptimal", "optimal")


@dataclass(frozen=True)
class Agreement:
    """Two raters on the frames that both looked at.

    Attributes:
        frames: how many.
        outlined_by_both: how many of them both outlined.
        dice: mean Dice of those; None without any.
        ac_difference_mm: mean of second minus first, absolute, of those with a fit for both; None without any.
        ac_bias_mm: the same, signed.
        kappa: Cohen's, on the plane (none, suboptimal, optimal; outlines without a grade count as optimal); None
            where all answers are one and the same.
    """

    frames: int
    outlined_by_both: int
    dice: float | None
    ac_difference_mm: float | None
    ac_bias_mm: float | None
    kappa: float | None

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return asdict(self)


def agreement(
    first: tuple[np.ndarray, FrameRecord],
    second: tuple[np.ndarray, FrameRecord],
    spacing: tuple[float, float] | None,
    sector: np.ndarray | None = None,
) -> Agreement:
    """Compare two labels of a case.

    Args:
        first, second: masks uint8 [T, H, W], positive inside, and the record of who looked at what.
        spacing: row and column pitch, mm; None when the file has none: then no circumference is compared.
        sector: uint8 [H, W], positive inside the field of view; None for the whole frame.

    Raises:
        ValueError: when the stacks differ in shape.
    """
    if first[0].shape != second[0].shape:
        raise ValueError(f"masks of shape {first[0].shape} and {second[0].shape} are not of one case")
    shared = sorted(set(first[1].known()) & set(second[1].known()))
    grades = [[_grade(record, frame) for frame in shared] for _, record in (first, second)]
    overlaps, differences = [], []
    for frame in shared:
        one, two = (masks[frame] > 0 for masks in (first[0], second[0]))
        if not (one.any() and two.any()):
            continue
        overlaps.append(dice(one, two))
        if spacing is not None:
            fits = [fit_outline(mask.astype(np.uint8), spacing, sector).circumference_mm for mask in (one, two)]
            if fits[0] is not None and fits[1] is not None:
                differences.append(fits[1] - fits[0])
    return Agreement(
        frames=len(shared),
        outlined_by_both=len(overlaps),
        dice=_mean(overlaps),
        ac_difference_mm=_mean([abs(value) for value in differences]),
        ac_bias_mm=_mean(differences),
        kappa=cohen_kappa(grades[0], grades[1]),
    )


def cohen_kappa(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Cohen's kappa (1960) of two raters' categories; None when there is nothing to disagree on.

    Raises:
        ValueError: when the lists differ in length.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} answers")
    if not first:
        return None
    one, two = np.asarray(first), np.asarray(second)
    observed = float((one == two).mean())
    expected = sum(
        float((one == value).mean()) * float((two == value).mean()) for value in set(first) | set(second)
    )
    return None if expected == 1 else (observed - expected) / (1 - expected)


def _grade(record: FrameRecord, frame: int) -> int:
    label = record.frames[frame]
    if label.state == "empty":
        return GRADES.index("none")
    return GRADES.index(label.plane or "optimal")


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
