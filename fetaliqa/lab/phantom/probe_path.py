"""Geometry of a phantom sweep: probe positions by frame, and the pose of the fetus.

Maternal axes: x to the maternal left, y to the head, z into the body from the skin, mm. Sweeps 1-3 move
from caudal to cranial (transverse planes), sweeps 4-6 from left to right (sagittal planes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fetaliqa.lab.phantom.fetus import rotation
from fetaliqa.lab.phantom.probe_sector import INNER_RADIUS_MM

TRANSVERSE_SWEEPS = 3  # sweeps 1-3 of an ACOUSLIC-AI stack; 4-6 are sagittal


@dataclass(frozen=True)
class ContactLoss:
    """Frames [start, stop) in which the beams between two angles (rad) lose ``loss_db``."""

    start: int
    stop: int
    low: float
    high: float
    loss_db: float


@dataclass(frozen=True, eq=False)
class SweepPlan:
    """Geometry of one sweep: T true frames.

    Attributes:
        origin: centre of curvature of the probe, mm, [T, 3].
        lateral: unit vector of the lateral image axis, [T, 3].
        depth: unit vector of the depth image axis, [T, 3].
        rotation: fetal axes as columns in maternal coordinates, [3, 3].
        centre: centre of the fetal abdomen, mm, [3].
        size: scale of the fetus in this sweep (breathing, pressure, measurement spread).
        wall_mm: thickness of the maternal wall.
        losses: contact losses.
    """

    index: int
    origin: np.ndarray
    lateral: np.ndarray
    depth: np.ndarray
    rotation: np.ndarray
    centre: np.ndarray
    size: float
    wall_mm: float
    losses: tuple[ContactLoss, ...]

    @property
    def length(self) -> int:
        return len(self.origin)

    def contact_db(self, angle: np.ndarray) -> np.ndarray:
        """Gain from contact losses (dB, <= 0) at one beam angle per frame, [T]."""
        frames = np.arange(self.length)
        gain = np.zeros(self.length)
        for loss in self.losses:
            hit = (frames >= loss.start) & (frames < loss.stop) & (angle > loss.low) & (angle < loss.high)
            gain[hit] -= loss.loss_db
        return gain


def smooth_walk(rng: np.random.Generator, length: int, spread: float, memory: int = 15) -> np.ndarray:
    """A slowly varying random curve of standard deviation ``spread``, [length]."""
    knots = rng.normal(0, spread, length // memory + 3)
    return np.interp(np.arange(length) / memory, np.arange(len(knots)), knots)


def probe_path(
    rng: np.random.Generator, sweep: int, length: int, *, speed: float, crossing: float, aside: float, lean: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origins and image axes of a sweep passing the fetal abdomen (at x = y = 0) at frame ``crossing``.

    Args:
        speed: mm per frame.
        aside: lateral distance of the path from the fetal abdomen, mm.
        lean: rotation of the probe in its image plane, rad.

    Returns:
        origin, lateral, depth: each [length, 3].
    """
    steps = speed * (1 + smooth_walk(rng, length, 0.12))
    travel = np.cumsum(steps)
    travel -= np.interp(crossing, np.arange(length), travel) if 0 <= crossing < length else 0
    if crossing < 0:
        travel += -crossing * speed
    elif crossing >= length:
        travel -= travel[-1] + (crossing - length) * speed
    across = aside + smooth_walk(rng, length, 1.5)
    pitch = smooth_walk(rng, length, np.radians(1.2))
    roll = lean + smooth_walk(rng, length, np.radians(1.2))
    # sweep frame: axis 0 lateral, 1 direction of motion, 2 depth
    lateral = np.stack([np.cos(roll), np.zeros(length), np.sin(roll)], axis=1)
    depth = np.stack([-np.sin(roll) * np.cos(pitch), np.sin(pitch), np.cos(roll) * np.cos(pitch)], axis=1)
    # orthogonalise: pitch tips the depth axis along the motion
    depth -= np.einsum("ti,ti->t", depth, lateral)[:, None] * lateral
    depth /= np.linalg.norm(depth, axis=1, keepdims=True)
    surface = np.stack([across, travel, np.zeros(length)], axis=1)
    turn = np.eye(3) if sweep < TRANSVERSE_SWEEPS else rotation(2, -np.pi / 2)
    origin = surface - INNER_RADIUS_MM * depth
    return origin @ turn.T, lateral @ turn.T, depth @ turn.T


def fetal_rotation(*, longitudinal: bool, cephalic: bool, roll: float, tilt: float, tilt_way: float) -> np.ndarray:
    """Fetal axes in maternal coordinates.

    Args:
        longitudinal: long axis along the mother's, otherwise across.
        cephalic: head towards the mother's feet (longitudinal) or her right (across).
        roll: turn about the long axis; 0 has the fetal front towards the probe, rad.
        tilt, tilt_way: how far, and in which direction, the long axis leans away, rad.
    """
    head_up = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).T  # fetal x, y, z -> maternal +x, -z, +y
    base = head_up @ rotation(2, roll)
    if cephalic:
        base = rotation(2, np.pi) @ base
    lean = rotation(1, tilt_way) @ rotation(0, tilt) @ rotation(1, -tilt_way)
    whole = lean @ base
    return whole if longitudinal else rotation(2, -np.pi / 2) @ whole
