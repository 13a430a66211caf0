"""Subsampling of cases: every n-th frame of each sweep, and limits per kind of frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fetaliqa.datasets.labelled_data import LabelledCase
from fetaliqa.sweep.sweep_ranges import black_slots


@dataclass(frozen=True)
class Sampling:
    """Largest number of frames per sweep, by kind; few frames of many cases train better than many of few.

    Attributes:
        annotated: annotated frames.
        hard: frames without an outline near an annotated one; in phantoms, frames that cut the trunk.
        easy: other frames without an outline.
    """

    annotated: int
    hard: int
    easy: int


@dataclass(frozen=True, eq=False)
class SubsampledCase:
    """A case with every n-th frame.

    Attributes:
        case: the selected frames, with their masks and renumbered sweep ranges.
        numbers: int [T], their frame numbers in the original case.
    """

    case: LabelledCase
    numbers: np.ndarray


def subsample_case(case: LabelledCase, step: int) -> SubsampledCase:
    """Select every n-th labelled frame of each sweep, without black frames and empty sweeps."""
    usable = case.known & ~black_slots(case.frames)
    numbers, ranges, circumferences, start = [], [], [], 0
    for (first, stop), circumference in zip(case.ranges, case.circumferences_mm):
        frames = np.arange(first, stop)[usable[first:stop]][::step]
        if len(frames):
            numbers.append(frames)
            ranges.append((start, start + len(frames)))
            circumferences.append(circumference)
            start += len(frames)
    selected = np.concatenate(numbers) if numbers else np.zeros(0, int)
    return SubsampledCase(
        LabelledCase(
            case.case_id,
            case.subject_id,
            case.frames[selected],
            case.masks[selected],
            np.ones(len(selected), bool),
            case.spacing,
            tuple(ranges),
            tuple(circumferences),
        ),
        selected,
    )
