"""Random fields of view for augmentation: fans of curved probes, fans with a flat top, rectangles, cuts.

In the model's square of 224 pixels, ACOUSLIC-AI's fan (``fetaliqa.lab.phantom.probe_sector``) has its centre of
curvature 27 pixels above the square's top, radii of 63 and 224 pixels and a half angle of 30 degrees.
Random fans vary around it, so that a field of view carries no information about its content.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

HALF_ANGLE_DEG = (20.0, 42.0)  # abdominal probes; ACOUSLIC-AI has 30
INNER_SHARE = (0.08, 0.42)  # inner over outer radius; ACOUSLIC-AI has 0.28
EXTENT = (0.72, 1.0)  # longer side of the view as a share of the square; 1 is a frame cropped to its view
OFF_CENTRE = 0.5  # share of the free room by which a view may be off the centre
ACOUSLIC_FAN = (30.0, 0.2823, 1.0)  # half angle (degrees), inner over outer radius, extent
FIXED_SHARE = 0.3  # of fans that are ACOUSLIC-AI's own
RECTANGLE_SHARE = 0.15  # of views that are rectangles
FLAT_TOP_SHARE = 0.15  # of fans whose probe face is a straight line (phased arrays, trapezoids)


@dataclass(frozen=True, eq=False)
class View:
    """A field of view in the square.

    Attributes:
        mask: uint8 [size, size] of 0 and 1.
        apex: (x, y) in pixels where its beams meet; far above for a rectangle.
    """

    mask: np.ndarray
    apex: tuple[float, float]


def random_view(size: int, rng: np.random.Generator) -> View:
    """A fan or a rectangle somewhere in a square of ``size`` pixels, the whole of it visible."""
    if rng.random() < RECTANGLE_SHARE:
        return _rectangle(size, rng)
    if rng.random() < FIXED_SHARE:
        return fan(size, *ACOUSLIC_FAN)
    off = rng.uniform(-OFF_CENTRE, OFF_CENTRE, 2) if rng.random() < 0.5 else np.zeros(2)
    return fan(
        size,
        rng.uniform(*HALF_ANGLE_DEG),
        rng.uniform(*INNER_SHARE),
        rng.uniform(*EXTENT),
        off=(float(off[0]), float(off[1])),
        flat_top=bool(rng.random() < FLAT_TOP_SHARE),
    )


def fan(
    size: int,
    half_angle_deg: float,
    inner_share: float,
    extent: float = 1.0,
    *,
    off: tuple[float, float] = (0.0, 0.0),
    flat_top: bool = False,
) -> View:
    """A fan that opens downwards.

    Args:
        size: side of the square in pixels.
        half_angle_deg: between its middle and a side.
        inner_share: radius of the probe's face over the outer radius.
        extent: longer side of its bounding box as a share of the square.
        off: of its centre from the square's, columns and rows, as a share (-1 to 1) of the room that is free.
        flat_top: a straight probe face in place of an arc.
    """
    angle = math.radians(half_angle_deg)
    top, wide = inner_share * math.cos(angle), 2 * math.sin(angle)  # in units of the outer radius
    high = 1 - top
    radius = extent * size / max(high, wide)
    room = (size - radius * wide) / 2, (size - radius * high) / 2
    apex = size / 2 - 0.5 + off[0] * room[0], (1 + off[1]) * room[1] - radius * top - 0.5
    turns = np.linspace(-angle, angle, 48)
    outer = np.stack([np.sin(turns), np.cos(turns)], axis=1)
    inner = outer[[-1, 0]] if flat_top else outer[::-1]
    outline = np.concatenate([outer * radius, inner * radius * inner_share]) + apex
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], [1.0], shift=4)
    return View(mask, apex)


def _rectangle(size: int, rng: np.random.Generator) -> View:
    width, height = rng.uniform(0.6, 1.0, 2) * size
    # frames are padded to a square, so that a rectangle reaches two sides of it
    width, height = (size, height) if width > height else (width, size)
    left, top = (size - width) / 2, (size - height) / 2
    mask = np.zeros((size, size), np.uint8)
    mask[round(top) : round(top + height), round(left) : round(left + width)] = 1
    return View(mask, (size / 2, -4.0 * size))
