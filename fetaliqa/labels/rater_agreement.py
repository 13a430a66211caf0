"""Inter-rater agreement: Dice, circumference difference and Cohen's kappa, on one case or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.labels.frame_record import FrameRecord
from fetaliqa.measure import fit_mask
from fetaliqa.measure.anatomy import ABDOMEN, Anatomy

GRADES = ("none", "suboptimal", "optimal")
PIXELS = (1.0, 1.0)  # spacing of an image without one, whose circumferences are compared as shares only


@dataclass(frozen=True)
class Agreement:
    """Agreement of two raters on the frames that both reviewed.

    Attributes:
        frames: how many.
        outlined_by_both: how many of them both outlined.
        dice: mean Dice of those; None without any.
        circumference_difference: mean of second minus first, absolute, as a share of their mean, of those with a
            fit for both; None without any.
        ac_difference_mm: the same in mm, of images with a pixel size.
        ac_bias_mm: the same, signed.
        kappa: Cohen's, on the plane (none, suboptimal, optimal; outlines without a grade count as optimal); None
            where all answers are one and the same.
    """

    frames: int
    outlined_by_both: int
    dice: float | None
    circumference_difference: float | None
    ac_difference_mm: float | None
    ac_bias_mm: float | None
    kappa: float | None

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Two raters' answers, frame by frame; those of several cases can be joined.

    Attributes:
        grades: of each rater, of every frame that both reviewed.
        overlaps: Dice of the frames that both outlined.
        relative: differences of their circumferences, second minus first, as shares of their mean.
        differences_mm: the same in mm, where the pixel size is known.
    """

    grades: tuple[list[int], list[int]]
    overlaps: list[float]
    relative: list[float]
    differences_mm: list[float]

    def agreement(self) -> Agreement:
        """The figures."""
        return Agreement(
            frames=len(self.grades[0]),
            outlined_by_both=len(self.overlaps),
            dice=_mean(self.overlaps),
            circumference_difference=_mean([abs(value) for value in self.relative]),
            ac_difference_mm=_mean([abs(value) for value in self.differences_mm]),
            ac_bias_mm=_mean(self.differences_mm),
            kappa=cohen_kappa(*self.grades),
        )


def compare(
    first: tuple[np.ndarray, FrameRecord],
    second: tuple[np.ndarray, FrameRecord],
    spacing: tuple[float, float] | None,
    sector: np.ndarray | None = None,
    anatomy: Anatomy = ABDOMEN,
) -> Comparison:
    """Compare two labels of a case.

    Args:
        first, second: masks uint8 [T, H, W], positive inside, and the frame record.
        spacing: row and column pitch, mm; None when unknown: then no circumference is given in mm.
        sector: uint8 [H, W], positive inside the field of view; None for the whole frame.
        anatomy: what is outlined; of a line its length is compared in place of a circumference.

    Raises:
        ValueError: when the stacks differ in shape.
    """
    if first[0].shape != second[0].shape:
        raise ValueError(f"masks of shape {first[0].shape} and {second[0].shape} are not of one case")
    shared = sorted(set(first[1].known()) & set(second[1].known()))
    grades = [[_grade(record, frame) for frame in shared] for _, record in (first, second)]
    comparison = Comparison((grades[0], grades[1]), [], [], [])
    for frame in shared:
        one, two = (masks[frame] > 0 for masks in (first[0], second[0]))
        if not (one.any() and two.any()):
            continue
        comparison.overlaps.append(dice(one, two))
        fits = [fit_mask(mask.astype(np.uint8), spacing or PIXELS, sector, anatomy) for mask in (one, two)]
        before, after = (fit.size_mm for fit in fits)
        if before is not None and after is not None:
            comparison.relative.append(2 * (after - before) / (after + before))
            if spacing is not None:
                comparison.differences_mm.append(after - before)
    return comparison


def joined(comparisons: Sequence[Comparison]) -> Comparison:
    """The comparisons of several cases as one."""
    return Comparison(
        (
            [grade for one in comparisons for grade in one.grades[0]],
            [grade for one in comparisons for grade in one.grades[1]],
        ),
        [value for one in comparisons for value in one.overlaps],
        [value for one in comparisons for value in one.relative],
        [value for one in comparisons for value in one.differences_mm],
    )


def cohen_kappa(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Cohen's kappa (1960) of two raters' categories; None when all answers are one category.

    Computed here because scikit-learn is not among the core dependencies.

    Raises:
        ValueError: when the lists differ in length.
    """
    if len(first) != len(second):
        raise ValueError(f"the raters' lists differ in length: {len(first)} and {len(second)}")
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
