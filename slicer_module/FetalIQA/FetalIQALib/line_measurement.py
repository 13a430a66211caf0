"""Line and length of a mask (femur), in numpy only, because Slicer does not ship OpenCV.

The method is the server's (``fetaliqa.measure.line``) in an independent implementation; tests compare the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from FetalIQALib.ellipse_measurement import Measurement, main_part
from FetalIQALib.translation import _

BAND_SHARE = 0.035  # width of a line's band, of the image's longer side
MIN_BAND_PX = 3.0
MIN_ELONGATION = 1.8  # length over width, below which a mask is no line
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Line:
    """A line in pixels (centre of the first pixel: 0, 0), its left end first.

    Attributes:
        x1, y1, x2, y2: columns and rows of the ends.
    """

    x1: float
    y1: float
    x2: float
    y2: float

    @classmethod
    def between(cls, one: tuple[float, float], other: tuple[float, float]) -> Line:
        """The line between two points in either order."""
        first, second = sorted([(float(one[0]), float(one[1])), (float(other[0]), float(other[1]))])
        return cls(*first, *second)

    @property
    def length(self) -> float:
        """In pixels."""
        return math.hypot(self.x2 - self.x1, self.y2 - self.y1)

    def length_mm(self, spacing_mm: tuple[float, float]) -> float:
        """In mm, by the spacing of rows and columns."""
        return math.hypot((self.x2 - self.x1) * spacing_mm[1], (self.y2 - self.y1) * spacing_mm[0])

    def draw(self, shape: tuple[int, int], thickness: float | None = None) -> np.ndarray:
        """Its band with flat ends: uint8 [H, W], 1 where the centre of a pixel lies inside."""
        half = (max(MIN_BAND_PX, BAND_SHARE * max(shape)) if thickness is None else thickness) / 2
        if self.length == 0:
            return np.zeros(shape, np.uint8)
        right, down = (self.x2 - self.x1) / self.length, (self.y2 - self.y1) / self.length
        x = np.arange(shape[1])[None] - self.x1
        y = np.arange(shape[0])[:, None] - self.y1
        along, across = x * right + y * down, y * right - x * down
        inside = (along >= -TOLERANCE) & (along <= self.length + TOLERANCE) & (np.abs(across) <= half + TOLERANCE)
        return inside.astype(np.uint8)


def measure_line(mask: np.ndarray, spacing_mm: tuple[float, float] | None) -> Measurement:
    """The line of a mask's largest part, from where its width rises to half of the usual one to where it falls.

    Args:
        mask: [H, W], foreground not 0.
        spacing_mm: of rows and columns; None if the file has none.
    """
    part = main_part(mask)
    if part is None:
        return Measurement(None, None, _("no mask"))
    row, column = spacing_mm or (1.0, 1.0)
    rows, columns = np.nonzero(part)
    ends = _ends(np.stack([columns * column, rows * row], axis=1), math.sqrt(row * column))
    if ends is None:
        return Measurement(None, None, _("the mask is too small or too round to be a line"))
    (x1, y1), (x2, y2) = ends / (column, row)
    line = Line.between((x1, y1), (x2, y2))
    if spacing_mm is None:
        return Measurement(None, None, _("the file has no pixel spacing"), line=line)
    return Measurement(None, line.length_mm(spacing_mm), line=line)


def _ends(points: np.ndarray, pixel: float) -> np.ndarray | None:
    middle = points.mean(axis=0)
    centred = points - middle
    values, vectors = np.linalg.eigh(centred.T @ centred)
    if values[1] <= 0:
        return None
    axis = vectors[:, 1] if vectors[0, 1] >= 0 else -vectors[:, 1]
    normal = np.array([-axis[1], axis[0]])
    along, across = centred @ axis, centred @ normal
    first = along.min() - 2 * pixel
    places = (along - first) / pixel
    below = places.astype(int)
    count = int(below.max()) + 4
    share = places - below  # each pixel counts in part at both places next to it
    profile = pixel * (np.bincount(below, 1 - share, count) + np.bincount(below + 1, share, count))
    width = float(np.median(profile[count // 4 : count - count // 4]))
    wide = np.flatnonzero(profile >= width / 2)
    if width <= 0 or not len(wide):
        return None
    bounds = []
    for index, outer in ((int(wide[0]), int(wide[0]) - 1), (int(wide[-1]), int(wide[-1]) + 1)):
        inner_value, outer_value = profile[index], profile[outer] if 0 <= outer < count else np.inf
        step = 0.0 if outer_value >= inner_value else (inner_value - width / 2) / (inner_value - outer_value)
        bounds.append(first + (index + step * (outer - index)) * pixel)
    if bounds[1] - bounds[0] < MIN_ELONGATION * width:
        return None
    ends = []
    for at, direction in zip(bounds, (1, -1)):
        distance = (along - at) * direction
        near = across[(distance >= 0) & (distance <= width)]
        ends.append(middle + at * axis + (near.mean() if len(near) else 0.0) * normal)
    return np.array(ends)
