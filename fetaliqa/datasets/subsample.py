"""Subsampled cases: every n-th frame of each sweep, or a few frames of each kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fetaliqa.datasets.labelled_data import LabelledCase
from fetaliqa.sweep.sweep_ranges import black_slots


@dataclass(frozen=True)
class Sampling:
    """How many frames of each sweep are taken, at most; few of many cases teach more than many of few.

    Attributes:
        annotated: annotated frames.
        hard: frames without an outline that are near an annotated one; of phantoms, whose plane cuts the trunk.
        easy: other frames without an outline.
    """

    annotated: int
    hard: int
    easy: int


@dataclass(frozen=True, eq=False)
class SubsampledCase:
    """A case of which every n-th frame is kept.

    Attributes:
        case: the frames kept, with masks and sweep ranges of their own counting.
        numbers: int [T], which frames of the whole case they are.
    """

    case: LabelledCase
    numbers: np.ndarray


def subsample_case(case: LabelledCase, step: int) -> SubsampledCase:
    """Every n-th known frame that is not black of each sweep of a case.

    Sweeps of which nothing is left are left out.
    """
    usable = case.known & ~black_slots(case.frames)
    numbers, ranges, circumferences, start = [], [], [], 0
    for (first, stop), circumference in zip(case.ranges, case.circumferences_mm):
        kept = np.arange(first, stop)[usable[first:stop]][::step]
        if len(kept):
            numbers.append(kept)
            ranges.append((start, start + len(kept)))
            circumferences.append(circumference)
            start += len(kept)
    chosen = np.concatenate(numbers) if numbers else np.zeros(0, int)
    return SubsampledCase(
        LabelledCase(
            case.case_id,
            case.subject_id,
            case.frames[chosen],
            case.masks[chosen],
            np.ones(len(chosen), bool),
            case.spacing,
            tuple(ranges),
            tuple(circumferences),
        ),
        chosen,
    )
