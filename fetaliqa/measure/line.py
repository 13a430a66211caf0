"""Lines: the two ends of a bone, the thin band that stands for a line in a mask, and the line of a band.

A label of a frame is a mask, for every anatomy. A line is written as a band: a rectangle with flat ends, as long
as the line and ``band_thickness`` wide. ``fit_line`` gets the line back from it, from the band that a model
outlines, and from a band drawn with a round brush.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.outline import BORDER_PX, away_from_border, check_mask, main_component

BAND_SHARE = 0.035  # of the image's longer side; 8 pixels of the model's grid
MIN_BAND_PX = 3.0
# Of a band's width: below, the mask is no line. A band of BAND_SHARE and a seventh of the image has a ratio of 4.
MIN_ELONGATION = 1.8
END_REACH = 1.0  # in units of the width: the part of a band whose middle gives the place of its end
# IoU of the mask and the band of its own width along its line
POOR_OVERLAP = 0.55


@dataclass(frozen=True)
class Line:
    """A straight line between two points.

    Attributes:
        x1, y1, x2, y2: columns and rows of the ends; pixel centres, the first pixel's is (0, 0). The first end is
            the left one (of a vertical line, the upper one).
    """

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def length(self) -> float:
        """Distance of the ends, in their unit."""
        return math.hypot(self.x2 - self.x1, self.y2 - self.y1)

    def length_mm(self, spacing: tuple[float, float]) -> float:
        """Length in mm.

        Args:
            spacing: (row, column) spacing in mm.

        Examples:
            >>> Line(10.0, 20.0, 40.0, 60.0).length_mm((0.5, 1.0))
            36.05551275463989
        """
        return math.hypot((self.x2 - self.x1) * spacing[1], (self.y2 - self.y1) * spacing[0])

    def ends(self) -> np.ndarray:
        """Both ends, float [2, 2] as (x, y)."""
        return np.array([[self.x1, self.y1], [self.x2, self.y2]], float)

    @classmethod
    def between(cls, one: Iterable[float], other: Iterable[float]) -> Line:
        """The line between two points (x, y) in either order."""
        first, second = sorted((tuple(map(float, one)), tuple(map(float, other))))
        return cls(*first, *second)


def band_thickness(shape: tuple[int, ...]) -> float:
    """Width in pixels of the band that stands for a line on an image [H, W].

    Examples:
        >>> band_thickness((562, 744))
        26.040000000000003
    """
    return max(MIN_BAND_PX, BAND_SHARE * max(shape[:2]))


def draw_line(line: Line, shape: tuple[int, int], thickness: float | None = None) -> np.ndarray:
    """The band of a line: uint8 [H, W], 1 where the pixel centre lies inside.

    Args:
        line: in pixels.
        shape: (rows, columns).
        thickness: in pixels; None: ``band_thickness``.

    Examples:
        >>> draw_line(Line(1.0, 1.0, 4.0, 1.0), (4, 6), 2.0)
        array([[0, 1, 1, 1, 1, 0],
               [0, 1, 1, 1, 1, 0],
               [0, 1, 1, 1, 1, 0],
               [0, 0, 0, 0, 0, 0]], dtype=uint8)
    """
    band = np.zeros(shape, np.uint8)
    half = (band_thickness(shape) if thickness is None else thickness) / 2
    length = line.length
    if length == 0:
        return band
    ends = line.ends()
    first = np.maximum(np.floor(ends.min(axis=0) - half).astype(int), 0)
    last = np.minimum(np.ceil(ends.max(axis=0) + half).astype(int) + 1, (shape[1], shape[0]))
    if (last <= first).any():
        return band
    ux, uy = (ends[1] - ends[0]) / length
    x = np.arange(first[0], last[0])[None] - line.x1
    y = np.arange(first[1], last[1])[:, None] - line.y1
    along, across = x * ux + y * uy, y * ux - x * uy
    tolerance = 1e-6  # so that an end on a pixel's centre is inside whatever the rounding
    inside = (along >= -tolerance) & (along <= length + tolerance) & (np.abs(across) <= half + tolerance)
    band[first[1] : last[1], first[0] : last[0]] = inside
    return band


@dataclass(frozen=True)
class LineFit:
    """The line of a mask.

    Attributes:
        line: in pixels of the mask's grid; None when the mask is no line (see ``absent_reason``).
        length_mm: None without a line or without pixel spacing.
        absent_reason: why ``length_mm`` is None, as a message; None when it is given.
        thickness: width of the band in pixels; None without a line.
        overlap: intersection over union in [0, 1] of the mask and the band of this width along the line.
        fitted_share: share of the two ends that lie inside the field of view, away from its border: 0, 0.5 or 1.
    """

    line: Line | None
    length_mm: float | None
    absent_reason: str | None
    thickness: float | None = None
    overlap: float | None = None
    fitted_share: float = 0.0

    @property
    def size_mm(self) -> float | None:
        """The length, under the name that it shares with the circumference of an ellipse."""
        return self.length_mm

    def warning(self, anatomy: Anatomy) -> str | None:
        """Warning about an implausible length or a doubtful line; None without one."""
        if self.line is None:
            return None
        warnings = []
        low, high = anatomy.plausible_mm
        if self.length_mm is not None and not low <= self.length_mm <= high:
            warnings.append(
                f"{anatomy.measurement} {self.length_mm:.0f} mm is outside the plausible "
                f"{low:.0f}-{high:.0f} mm; check the ends and the pixel spacing"
            )
        if self.fitted_share < 1:
            warnings.append("an end lies at the border of the field of view; check that none is cut off")
        if self.overlap is not None and self.overlap < POOR_OVERLAP:
            warnings.append(f"the mask is not straight (overlap with its line {self.overlap:.2f}); check the ends")
        return "; ".join(warnings) or None


def fit_line(
    mask: np.ndarray,
    spacing: tuple[float, float] | None,
    field_of_view: np.ndarray | None = None,
    *,
    border_px: int = BORDER_PX,
) -> LineFit:
    """The line of a mask: along the principal axis of its largest component, from end to end.

    The ends are where the component's width, counted across the axis, falls to half of its usual width. For a band
    with flat ends that is its length, for one with round ends 0.07 of the width less at each end. Each end lies in
    the middle of the component there, so a band that bends a little keeps its ends.

    Args:
        mask: integer or bool [H, W]; non-zero is foreground.
        spacing: (row, column) spacing in mm, or None when unknown.
        field_of_view: [H, W], non-zero inside; None: the whole image.
        border_px: an end within this many pixels of the border, beyond half of the width, counts as cut off.

    Raises:
        ValueError: when shapes differ, or a spacing is not positive.

    Examples:
        >>> drawn = Line(30.0, 40.0, 130.0, 70.0)
        >>> fit = fit_line(draw_line(drawn, (120, 200)), (0.5, 0.5))
        >>> round(fit.length_mm, 1), round(drawn.length_mm((0.5, 0.5)), 1)
        (52.3, 52.2)
    """
    check_mask(mask, spacing, field_of_view)
    inside = (mask != 0) if field_of_view is None else (mask != 0) & (field_of_view != 0)
    component = main_component(inside)
    if component is None:
        return LineFit(None, None, "the mask is empty inside the field of view")
    row_mm, column_mm = spacing or (1.0, 1.0)
    rows, columns = np.nonzero(component)
    points = np.stack([columns * column_mm, rows * row_mm], axis=1)
    pixel = math.sqrt(row_mm * column_mm)
    found = _ends(points, row_mm * column_mm, pixel)
    if found is None:
        return LineFit(None, None, "the mask is too small or too round to be a line")
    ends, width = found
    line = Line.between(*(ends / (column_mm, row_mm)))
    thickness = width / pixel
    drawn = draw_line(line, (component.shape[0], component.shape[1]), thickness)
    if field_of_view is not None:
        drawn &= (field_of_view != 0).astype(np.uint8)
    overlap = cv2.countNonZero(drawn & component) / max(cv2.countNonZero(drawn | component), 1)
    share = _ends_inside(line, component.shape, field_of_view, border_px)
    reason = None if spacing is not None else "no pixel spacing in the file"
    length = None if spacing is None else line.length_mm(spacing)
    return LineFit(line, length, reason, thickness, overlap, share)


def _ends(points: np.ndarray, area: float, pixel: float) -> tuple[np.ndarray, float] | None:
    """Ends [2, 2] and width of a component of pixels at ``points`` [N, 2], each of an area."""
    middle = points.mean(axis=0)
    centred = points - middle
    values, vectors = np.linalg.eigh(centred.T @ centred / len(points))
    if values[1] <= 0:
        return None
    axis = vectors[:, 1] if vectors[0, 1] >= 0 else -vectors[:, 1]
    along, across = centred @ axis, centred @ (-axis[1], axis[0])
    first = along.min() - 2 * pixel
    # each pixel counts in part at both places next to it, so that a slanted band has a smooth profile
    places = (along - first) / pixel
    below = places.astype(int)
    share, count = places - below, int(below.max()) + 4
    counted = np.bincount(below, 1 - share, count) + np.bincount(below + 1, share, count)
    profile = counted * (area / pixel)  # width across the axis
    centres = first + pixel * np.arange(count)
    width = float(np.median(profile[count // 4 : count - count // 4]))
    above = np.flatnonzero(profile >= width / 2)
    if width <= 0 or not len(above):
        return None
    start = _crossing(centres, profile, above[0], -1, width / 2)
    stop = _crossing(centres, profile, above[-1], 1, width / 2)
    if stop - start < MIN_ELONGATION * width:
        return None
    ends = []
    for at, direction in ((start, 1), (stop, -1)):
        near = (along - at) * direction
        chosen = across[(near >= 0) & (near <= END_REACH * width)]
        beside = float(chosen.mean()) if len(chosen) else 0.0
        ends.append(middle + at * axis + beside * np.array([-axis[1], axis[0]]))
    return np.array(ends), width


def _crossing(centres: np.ndarray, profile: np.ndarray, index: int, step: int, level: float) -> float:
    """Where the profile falls to a level beyond ``index``, between two of its values."""
    outer = index + step
    if not 0 <= outer < len(profile) or profile[outer] >= profile[index]:
        return float(centres[index])
    share = (profile[index] - level) / (profile[index] - profile[outer])
    return float(centres[index] + share * (centres[outer] - centres[index]))


def _ends_inside(line: Line, shape: tuple[int, ...], field_of_view: np.ndarray | None, border_px: int) -> float:
    free = away_from_border(shape, field_of_view, border_px)
    at = np.round(line.ends()).astype(int)
    within = (at >= 0).all(axis=1) & (at[:, 0] < shape[1]) & (at[:, 1] < shape[0])
    return float(np.mean([bool(ok and free[y, x]) for (x, y), ok in zip(at, within)]))
