"""Masks of the structures that a phantom frame shows: section of the trunk, stomach bubble, umbilical vein.

The labels of a phantom (``phantom_truth``) say whether stomach and vein are seen. These masks say where. They are
the quadrics themselves: the painted outlines bend by up to 7 % more, and shadows are not subtracted.
"""

from __future__ import annotations

import numpy as np

from fetaliqa.lab.phantom.fetus import Fetus, Part
from fetaliqa.lab.phantom.phantom_truth import LONGITUDINAL_TILT_RAD, SweepTruth
from fetaliqa.lab.phantom.probe_path import SweepPlan
from fetaliqa.lab.phantom.probe_sector import Sector

STRUCTURES = ("abdomen", "stomach", "vein")
VEIN_PARTS = ("organ_vein", "organ_vein_hook")


def structure_masks(
    plan: SweepPlan, fetus: Fetus, truth: SweepTruth, sector: Sector, frames: np.ndarray
) -> np.ndarray:
    """What frames of a sweep show, inside the sector.

    Sections that are not roughly axial show the trunk; their stomach and vein are left out, since the criteria of
    the standard plane are about axial sections.

    Args:
        plan, fetus, truth: of the sweep.
        sector: its pixel grid.
        frames: frame numbers within the sweep, int [N].

    Returns:
        bool [N, 3, rows, columns], in the order of ``STRUCTURES``.
    """
    masks = np.zeros((len(frames), len(STRUCTURES), *sector.shape), bool)
    vein = [part for part in fetus.parts if part.name in VEIN_PARTS]
    for place, frame in enumerate(int(number) for number in frames):
        trunk = _section(plan, fetus.trunk, frame, sector)
        masks[place, 0] = trunk
        if truth.tilt[frame] > LONGITUDINAL_TILT_RAD:
            continue
        if truth.stomach[frame]:
            masks[place, 1] = trunk & _section(plan, fetus.stomach, frame, sector)
        if truth.vein[frame]:
            masks[place, 2] = trunk & np.any([_section(plan, part, frame, sector) for part in vein], axis=0)
    return masks


def _section(plan: SweepPlan, part: Part, frame: int, sector: Sector) -> np.ndarray:
    """Where a frame's plane cuts a part, its limits along the fetus's axis left aside, bool [rows, columns]."""
    own = (plan.rotation @ part.axes) / (part.semi * plan.size)
    lateral, depth = sector.plane_mm
    centre = plan.centre + plan.size * plan.rotation @ part.centre
    start = (plan.origin[frame] - centre) @ own
    # q along the own axes is linear in the two plane coordinates
    axes = (
        start[:, None, None]
        + (plan.lateral[frame] @ own)[:, None, None] * lateral[None, None, :]
        + (plan.depth[frame] @ own)[:, None, None] * depth[None, :, None]
    )
    inside: np.ndarray = ((axes**2).sum(axis=0) <= 1.0) & sector.mask
    return inside
