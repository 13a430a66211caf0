"""Ground truth of a phantom sweep from its geometry: annotated planes, outlines and AC.

A frame is graded where its plane runs roughly axially through the trunk: *optimal* (1) when stomach bubble
and umbilical vein are both cut and the outline is nearly whole, *suboptimal* (2) when one of them is cut or
the sector cuts more of the outline, otherwise 0. This follows the plane criteria of ACOUSLIC-AI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fetaliqa.lab.phantom.fetus import Fetus, Part
from fetaliqa.lab.phantom.probe_path import SweepPlan
from fetaliqa.lab.phantom.probe_sector import HALF_ANGLE_RAD, INNER_RADIUS_MM, OUTER_RADIUS_MM, Sector
from fetaliqa.measure.ellipse import ellipse_circumference

MAX_OPTIMAL_TILT_RAD = float(np.radians(18.0))
MAX_TILT_RAD = float(np.radians(25.0))  # beyond it a plane is not axial and never annotated
LONGITUDINAL_TILT_RAD = float(np.radians(50.0))  # from here on the section is plainly not axial
MIN_OPTIMAL_SHARE = 0.85  # share of the outline's area inside the sector
MIN_SHARE = 0.65
HIDDEN_DB = -12.0  # poor contact beyond this hides an organ
OPTIMAL, SUBOPTIMAL = 1, 2


def sector_margin(lateral: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Distance (mm) to the sector border of plane points from the centre of curvature; negative outside."""
    radius = np.hypot(lateral, depth)
    side = radius * np.sin(np.clip(HALF_ANGLE_RAD - np.abs(np.arctan2(lateral, depth)), -1.5, 1.5))
    return np.minimum(side, np.minimum(radius - INNER_RADIUS_MM, OUTER_RADIUS_MM - radius))


def section_conic(plan: SweepPlan, part: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Section of an ellipsoid with every plane of a sweep.

    Returns:
        matrix [T, 2, 2], vector [T, 2], scalar [T] of q(w) = w'Mw + 2b'w + c over plane coordinates
        w = (lateral, depth) in mm; the section is where q <= 1.
    """
    own = plan.rotation @ part.axes
    weights = 1.0 / (part.semi * plan.size) ** 2
    offset = (plan.origin - (plan.centre + plan.size * plan.rotation @ part.centre)) @ own
    basis = np.stack([plan.lateral @ own, plan.depth @ own], axis=1)  # [T, 2, 3]
    matrix = np.einsum("tik,k,tjk->tij", basis, weights, basis)
    vector = np.einsum("tik,k,tk->ti", basis, weights, offset)
    scalar = np.einsum("tk,k,tk->t", offset, weights, offset)
    return matrix, vector, scalar


@dataclass(frozen=True)
class SweepTruth:
    """Labels of one sweep's true frames ([T] arrays) and its AC."""

    grade: np.ndarray
    tilt: np.ndarray
    share: np.ndarray
    stomach: np.ndarray
    vein: np.ndarray
    ambiguous: np.ndarray
    centre: np.ndarray
    semi: np.ndarray
    best: int | None
    ac_mm: float | None


def _ellipses(plan: SweepPlan, trunk: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre [T, 2], semi-axes [T, 2] (0 where the plane misses) and axes [T, 2, 2] of the trunk section."""
    matrix, vector, scalar = section_conic(plan, trunk)
    centre = -np.linalg.solve(matrix, vector[..., None])[..., 0]
    level = 1.0 - (scalar + np.einsum("ti,ti->t", vector, centre))
    values, axes = np.linalg.eigh(matrix)
    semi = np.sqrt(np.maximum(level, 0.0)[:, None] / values)
    return centre, semi, axes


def _organ(plan: SweepPlan, organ: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether a plane cuts the organ's level, its margin to the sector border, and the gain there (dB)."""
    normal = np.cross(plan.lateral, plan.depth)
    axis = plan.rotation[:, 2]
    centre = plan.centre + plan.size * plan.rotation @ organ.centre
    along = normal @ axis
    level = np.einsum("ti,ti->t", normal, plan.origin - centre) / np.where(np.abs(along) < 1e-3, 1e-3, along)
    point = centre + level[:, None] * axis - plan.origin
    lateral = np.einsum("ti,ti->t", point, plan.lateral)
    depth = np.einsum("ti,ti->t", point, plan.depth)
    assert organ.slab is not None
    cut = np.abs(level) <= organ.slab * plan.size
    return cut, sector_margin(lateral, depth), plan.contact_db(np.arctan2(lateral, depth))


_SPIRAL = np.sqrt((np.arange(96) + 0.5) / 96)[:, None] * np.stack(
    [np.cos(np.arange(96) * 2.39996), np.sin(np.arange(96) * 2.39996)], axis=1
)  # 96 evenly spread points of the unit disc


def sweep_truth(plan: SweepPlan, fetus: Fetus) -> SweepTruth:
    """Grade every true frame of a sweep."""
    normal = np.cross(plan.lateral, plan.depth)
    tilt = np.arccos(np.clip(np.abs(normal @ plan.rotation[:, 2]), 0, 1))
    centre, semi, axes = _ellipses(plan, fetus.trunk)
    points = centre[:, None] + np.einsum("tij,pj,tj->tpi", axes, _SPIRAL, semi)
    share = (sector_margin(points[..., 0], points[..., 1]) >= 0).mean(axis=1) * (semi[:, 0] > 0)

    near = tilt <= LONGITUDINAL_TILT_RAD
    seen, doubtful = [], near & (tilt > MAX_TILT_RAD) & (semi[:, 0] > 0)
    for organ in (fetus.stomach, fetus.vein):
        cut, margin, gain = _organ(plan, organ)
        size = fetus.radius * plan.size
        seen.append(cut & (margin > 0) & (gain > HIDDEN_DB) & near)
        edge = (margin > -0.30 * size) & (margin < 0.22 * size)
        doubtful |= near & cut & (edge | ((gain < -4) & (gain > -28)))
    stomach, vein = seen
    axial = (tilt <= MAX_TILT_RAD) & (share >= MIN_SHARE)
    optimal = stomach & vein & (tilt <= MAX_OPTIMAL_TILT_RAD) & (share >= MIN_OPTIMAL_SHARE)
    grade = np.where(axial & optimal, OPTIMAL, np.where(axial & (stomach | vein), SUBOPTIMAL, 0)).astype(np.uint8)
    doubtful |= (stomach | vein) & (grade == 0)
    best = _best(grade)
    ac = None if best is None else ellipse_circumference(float(semi[best, 0]), float(semi[best, 1]))
    return SweepTruth(grade, tilt, share, stomach, vein, doubtful, centre, semi, best, ac)


def _best(grade: np.ndarray) -> int | None:
    """The most central frame of the best grade present."""
    for wanted in (OPTIMAL, SUBOPTIMAL):
        frames = np.flatnonzero(grade == wanted)
        if len(frames):
            return int(frames[len(frames) // 2])
    return None


def masks_of(plan: SweepPlan, fetus: Fetus, truth: SweepTruth, sector: Sector) -> dict[int, np.ndarray]:
    """Filled outline of each annotated frame, cut by the sector: frame -> uint8 [rows, columns] of its grade."""
    matrix, vector, scalar = section_conic(plan, fetus.trunk)
    x, y = sector.plane_mm
    masks = {}
    for frame in np.flatnonzero(truth.grade):
        (mxx, mxy), (_, myy) = matrix[frame]
        bx, by = vector[frame]
        q = (mxx * x**2 + 2 * bx * x)[None, :] + (myy * y**2 + 2 * by * y)[:, None] + scalar[frame]
        q += 2 * mxy * x[None, :] * y[:, None]
        masks[int(frame)] = ((q <= 1.0) & sector.mask).astype(np.uint8) * truth.grade[frame]
    return masks
