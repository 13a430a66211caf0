"""Selected frames of each sweep of a phantom case as a labelled case; other frames are not rendered."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fetaliqa.datasets.labelled_data import LabelledCase
from fetaliqa.datasets.subsample import SubsampledCase
from fetaliqa.lab.phantom.phantom_case import CaseRenderer
from fetaliqa.lab.phantom.phantom_settings import PhantomSettings

SETTINGS = PhantomSettings(scale="half")


def excerpt(
    renderer: CaseRenderer, chosen: Sequence[np.ndarray], settings: PhantomSettings, case_id: str
) -> LabelledCase:
    """A case of chosen frames only, all of them labelled.

    Args:
        renderer: of the case.
        chosen: frame numbers within each sweep, one int [n] a sweep.
        settings: the renderer's.
        case_id: name of case and subject.

    Returns:
        The case, without circumferences: a sweep's best frame may not be among those chosen.
    """
    parts = [renderer.render(sweep, frames) for sweep, frames in enumerate(chosen)]
    borders = np.cumsum([0, *(len(frames) for frames in chosen)])
    spacing = settings.sector.spacing_mm
    return LabelledCase(
        case_id=case_id,
        subject_id=case_id,
        frames=np.concatenate([pictures for pictures, _ in parts]),
        masks=np.concatenate([masks for _, masks in parts]),
        known=np.ones(borders[-1], bool),
        spacing=(spacing, spacing),
        ranges=tuple((int(start), int(stop)) for start, stop in itertools.pairwise(borders)),
        circumferences_mm=(None,) * len(parts),
    )


def subsampled_phantom(seed: int, step: int, settings: PhantomSettings = SETTINGS) -> SubsampledCase:
    """A phantom case with every n-th frame; the other frames are not rendered."""
    renderer = CaseRenderer(seed, settings)
    chosen = [np.arange(0, plan.length, step) for plan in renderer.plan.sweeps]
    case = excerpt(renderer, chosen, settings, f"phantom-{seed}")
    # of the whole sweep: the selected frames are close to the measured plane
    case = replace(case, circumferences_mm=tuple(truth.ac_mm for truth in renderer.plan.truths))
    numbers = [sweep * settings.slots + frames for sweep, frames in enumerate(chosen)]
    return SubsampledCase(case, np.concatenate(numbers))
