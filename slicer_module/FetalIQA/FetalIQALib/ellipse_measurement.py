"""Ellipse and circumference of a mask, in numpy only, because Slicer does not ship OpenCV.

The method is the server's (same outline points, same limits, same direct fit) in an independent implementation;
tests compare the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from FetalIQALib.translation import _

BORDER_PX = 3  # outline points closer than this to the border of the field of view belong to that border
MIN_POINTS = 6  # a conic has five unknowns
MIN_FITTED_SHARE = 0.4  # minimum share of the outline that must be visible for a fit
MAX_GAP_DEG = 160.0  # longest missing arc of the outline
MIN_OVERLAP = 0.6  # minimum Jaccard index of mask and ellipse
MAX_POINTS = 720  # more do not change the fit


@dataclass(frozen=True)
class Ellipse:
    """An ellipse in pixels (centre of the first pixel: 0, 0) or mm.

    Attributes:
        x, y: centre, along columns and rows.
        a, b: longer and shorter semi-axis.
        angle: of the longer axis, radians from the column axis towards the row axis.
    """

    x: float
    y: float
    a: float
    b: float
    angle: float

    def scaled(self, across: float, down: float) -> Ellipse:
        """The ellipse with x scaled by ``across`` and y by ``down``."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        axes = np.array([[across * cosine, -across * sine], [down * sine, down * cosine]]) * (self.a, self.b)
        directions, lengths, _unused = np.linalg.svd(axes)
        angle = math.atan2(directions[1, 0], directions[0, 0]) % math.pi
        return Ellipse(self.x * across, self.y * down, float(lengths[0]), float(lengths[1]), angle)

    def draw(self, shape: tuple[int, int]) -> np.ndarray:
        """Filled: uint8 [H, W], 1 where the centre of a pixel lies inside."""
        filled = np.zeros(shape, np.uint8)
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        right, down = math.hypot(self.a * cosine, self.b * sine), math.hypot(self.a * sine, self.b * cosine)
        first_x, last_x = max(0, math.floor(self.x - right)), min(shape[1], math.ceil(self.x + right) + 1)
        first_y, last_y = max(0, math.floor(self.y - down)), min(shape[0], math.ceil(self.y + down) + 1)
        if last_x <= first_x or last_y <= first_y:
            return filled
        x = np.arange(first_x, last_x)[None] - self.x
        y = np.arange(first_y, last_y)[:, None] - self.y
        along = x * (cosine / self.a) + y * (sine / self.a)
        across = y * (cosine / self.b) - x * (sine / self.b)
        filled[first_y:last_y, first_x:last_x] = along**2 + across**2 <= 1
        return filled

    def points(self, count: int = 90) -> np.ndarray:
        """``count`` points around it, float [count, 2] as (x, y)."""
        turn = np.linspace(0, 2 * math.pi, count, endpoint=False)
        along, across = self.a * np.cos(turn), self.b * np.sin(turn)
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return np.stack([self.x + along * cosine - across * sine, self.y + along * sine + across * cosine], axis=1)

    @property
    def circumference(self) -> float:
        """Ramanujan's first approximation (1914)."""
        a, b = self.a, self.b
        return math.pi * (3 * (a + b) - math.sqrt((3 * a + b) * (a + 3 * b)))


@dataclass(frozen=True)
class Measurement:
    """Measurement of a mask.

    Attributes:
        ellipse: in pixels; None without a fit.
        circumference_mm: of a line its length; None if it cannot be measured.
        absent: why there is no circumference.
        warning: the server's warning on mask or circumference; empty for none.
        interval_mm: lower and upper end around the circumference of the server's own mask; None for none.
        line: ``line_measurement.Line`` in pixels, of an anatomy that is one (femur).
    """

    ellipse: Ellipse | None
    circumference_mm: float | None
    absent: str = ""
    warning: str = ""
    interval_mm: tuple[float, float] | None = None
    line: Any = None


def measure(
    mask: np.ndarray, spacing_mm: tuple[float, float] | None, measurable: np.ndarray | None = None
) -> Measurement:
    """Fit an ellipse to the outline of a mask's largest part, its holes filled.

    Args:
        mask: [H, W], foreground not 0.
        spacing_mm: of rows and columns; None if the file has none.
        free: bool [H, W], where outline points belong to the anatomy (``erode_field``); None: everywhere.
    """
    part = main_part(mask)
    if part is None:
        return Measurement(None, None, _("no mask"))
    points, inside = outline_points(part)
    valid = np.ones(len(points), bool) if measurable is None else measurable[inside[:, 1], inside[:, 0]]
    valid_share = float(valid.mean())
    if valid_share < MIN_FITTED_SHARE:
        return Measurement(None, None, _("too much of the outline is at the border of the field of view"))
    row, column = spacing_mm or (1.0, 1.0)
    selected = points[valid]
    selected = selected[:: max(1, -(-len(selected) // MAX_POINTS))] * (column, row)
    fitted = fit(selected)
    if fitted is None:
        return Measurement(None, None, _("the outline is not an ellipse"))
    if _largest_gap(selected, fitted) > MAX_GAP_DEG:
        return Measurement(None, None, _("too long a piece of the outline is outside of the field of view"))
    ellipse = fitted.scaled(1 / column, 1 / row)
    drawn = ellipse.draw((part.shape[0], part.shape[1]))
    if np.count_nonzero(drawn & part) < MIN_OVERLAP * np.count_nonzero(drawn | part):
        return Measurement(None, None, _("the outline is not an ellipse"))
    if spacing_mm is None:
        return Measurement(ellipse, None, _("the file has no pixel spacing"))
    return Measurement(ellipse, fitted.circumference)


def fit(points: np.ndarray) -> Ellipse | None:
    """Least-squares ellipse through points [N, 2]: the direct fit of Fitzgibbon, Pilu and Fisher (1999), in the
    form of Halir and Flusser (1998); None if there is none.
    """
    if len(points) < MIN_POINTS:
        return None
    middle = points.mean(axis=0)
    size = float(np.sqrt(((points - middle) ** 2).sum(axis=1).mean()))
    if size <= 0:
        return None
    x, y = ((points - middle) / size).T
    quadratic = np.stack([x * x, x * y, y * y], axis=1)
    linear = np.stack([x, y, np.ones_like(x)], axis=1)
    cross = quadratic.T @ linear
    try:
        reduced = -np.linalg.solve(linear.T @ linear, cross.T)
        scatter = quadratic.T @ quadratic + cross @ reduced
        # the inverse of the constraint 4ac - b^2 = 1 applied from the left
        _values, vectors = np.linalg.eig(np.stack([scatter[2] / 2, -scatter[1], scatter[0] / 2]))
    except np.linalg.LinAlgError:
        return None
    vectors = np.real(vectors)
    condition = 4 * vectors[0] * vectors[2] - vectors[1] ** 2
    if not (condition > 0).any():
        return None
    conic = vectors[:, int(np.argmax(condition > 0))]
    ellipse = _of_conic(np.concatenate([conic, reduced @ conic]))
    if ellipse is None:
        return None
    return Ellipse(
        float(middle[0] + size * ellipse.x),
        float(middle[1] + size * ellipse.y),
        ellipse.a * size,
        ellipse.b * size,
        ellipse.angle,
    )


def _of_conic(conic: np.ndarray) -> Ellipse | None:
    """The ellipse of a x² + b x y + c y² + d x + e y + f = 0; None for other curves."""
    a, b, c, d, e, f = conic
    matrix = np.array([[a, b / 2], [b / 2, c]])
    try:
        center = np.linalg.solve(2 * matrix, (-d, -e))
    except np.linalg.LinAlgError:
        return None
    level = -(f + (d * center[0] + e * center[1]) / 2)
    values, directions = np.linalg.eigh(matrix / level if level else matrix * np.nan)
    if not np.isfinite(values).all() or values.min() <= 0:
        return None
    # the smaller eigenvalue belongs to the longer axis
    longer, shorter = 1 / math.sqrt(values[0]), 1 / math.sqrt(values[1])
    if shorter < 1e-3:
        return None
    angle = math.atan2(directions[1, 0], directions[0, 0]) % math.pi
    return Ellipse(float(center[0]), float(center[1]), longer, shorter, angle)


def _largest_gap(points: np.ndarray, ellipse: Ellipse) -> float:
    x, y = points[:, 0] - ellipse.x, points[:, 1] - ellipse.y
    along = (x * math.cos(ellipse.angle) + y * math.sin(ellipse.angle)) / ellipse.a
    across = (y * math.cos(ellipse.angle) - x * math.sin(ellipse.angle)) / ellipse.b
    turns = np.sort(np.degrees(np.arctan2(across, along)))
    return float(np.diff(turns, append=turns[0] + 360.0).max())


def outline_points(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points half-way between neighbouring inside and outside pixels, and the inside pixel of each, as (x, y)."""
    crop = np.pad(part, 1)
    points, inside = [], []
    for axis in (0, 1):
        rows, columns = np.nonzero(np.diff(crop.astype(np.int8), axis=axis))
        ahead = np.array([axis == 1, axis == 0], int)
        here = np.stack([columns, rows], axis=1) - 1  # the padding moved the first pixel to index 1
        points.append(here + 0.5 * ahead)
        inside.append(np.where((crop[rows, columns] != 0)[:, None], here, here + ahead))
    return np.concatenate(points), np.concatenate(inside)


def main_part(mask: np.ndarray) -> np.ndarray | None:
    """Largest 8-connected part of a mask with its holes filled: uint8 [H, W] of 0 and 1; None when it is empty."""
    drawn = np.asarray(mask) != 0
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not len(rows):
        return None
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    labels, sizes = components(drawn[window], diagonal=True)
    outside, _unused = components(
        np.pad(labels != 1 + int(np.argmax(sizes)), 1, constant_values=True), diagonal=False
    )
    filled = np.zeros(drawn.shape, np.uint8)
    filled[window] = outside[1:-1, 1:-1] != outside[0, 0]
    return filled


def components(mask: np.ndarray, diagonal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Connected parts of a mask.

    Args:
        mask: bool [H, W].
        diagonal: whether pixels that touch at a corner belong together.

    Returns:
        int [H, W] with the number of each pixel's part, from 1; and the pixels of each part.
    """
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)
    rows, starts = np.nonzero(np.diff(padded, axis=1) == 1)
    stops = np.nonzero(np.diff(padded, axis=1) == -1)[1]
    parent = np.arange(len(rows))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    reach = 1 if diagonal else 0
    first_of_row = np.searchsorted(rows, np.arange(mask.shape[0] + 1))
    for row in range(1, mask.shape[0]):
        above, here = first_of_row[row - 1], first_of_row[row]
        for run in range(here, first_of_row[row + 1]):
            while above < here and stops[above] + reach <= starts[run]:
                above += 1
            other = above
            while other < here and starts[other] < stops[run] + reach:
                parent[root(other)] = root(run)
                other += 1
    roots = np.array([root(run) for run in range(len(rows))], int)
    _unused, numbers = np.unique(roots, return_inverse=True)
    labels = np.zeros(mask.shape, np.int32)
    for row, start, stop, number in zip(rows, starts, stops, numbers):
        labels[row, start:stop] = number + 1
    sizes = np.bincount(numbers, weights=stops - starts).astype(int) if len(rows) else np.zeros(0, int)
    return labels, sizes
