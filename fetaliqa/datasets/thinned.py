"""Whole sweeps at a lower rate: every n-th frame of a case, where all of them would take too long."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fetaliqa.datasets.labelled import LabelledCase
from fetaliqa.datasets.phantom import PhantomSettings
from fetaliqa.datasets.phantom.excerpt import excerpt
from fetaliqa.datasets.phantom.generate import CaseRenderer
from fetaliqa.sweep.ranges import black_slots

SETTINGS = PhantomSettings(scale="half")


@dataclass(frozen=True, eq=False)
class ThinCase:
    """A case of which every n-th frame is kept.

    Attributes:
        case: the frames kept, with masks and sweep ranges of their own counting.
        numbers: int [T], which frames of the whole case they are.
    """

    case: LabelledCase
    numbers: np.ndarray


def phantom_case(seed: int, step: int, settings: PhantomSettings = SETTINGS) -> ThinCase:
    """A phantom case; frames that are not kept are not rendered."""
    renderer = CaseRenderer(seed, settings)
    chosen = [np.arange(0, plan.length, step) for plan in renderer.plan.sweeps]
    case = excerpt(renderer, chosen, settings, f"phantom-{seed}")
    # of the whole sweep: thinned ones come close to the plane it was measured on
    case = replace(case, circumferences_mm=tuple(truth.ac_mm for truth in renderer.plan.truths))
    numbers = [sweep * settings.slots + frames for sweep, frames in enumerate(chosen)]
    return ThinCase(case, np.concatenate(numbers))


def thinned_case(case: LabelledCase, step: int) -> ThinCase:
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
    return ThinCase(
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
