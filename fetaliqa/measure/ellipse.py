"""Ellipses: circumference, rasterising, change of scale, and least-squares fitting.

Angles are in degrees in [0, 180), from the column axis (to the right) towards the row axis (downwards),
of the longer axis. Coordinates are pixel centres: the centre of the first pixel is (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

MIN_POINTS = 6  # a conic has five unknowns; the challenge also asks for more than five points


@dataclass(frozen=True)
class Ellipse:
    """An ellipse.

    Attributes:
        center_x, center_y: column and row of the centre (pixels, or mm when fitted in mm).
        semi_major, semi_minor: half of the longer and of the shorter axis, same unit.
        angle_deg: direction of the longer axis, degrees in [0, 180), from columns towards rows.
    """

    center_x: float
    center_y: float
    semi_major: float
    semi_minor: float
    angle_deg: float

    @property
    def axis_ratio(self) -> float:
        """Longer over shorter axis, at least 1."""
        return self.semi_major / self.semi_minor

    def points(self, count: int = 180) -> np.ndarray:
        """``count`` points around the ellipse, float [count, 2] as (x, y)."""
        turn = np.linspace(0, 2 * math.pi, count, endpoint=False)
        angle = math.radians(self.angle_deg)
        along, across = self.semi_major * np.cos(turn), self.semi_minor * np.sin(turn)
        x = self.center_x + along * math.cos(angle) - across * math.sin(angle)
        y = self.center_y + along * math.sin(angle) + across * math.cos(angle)
        return np.stack([x, y], axis=1)

    def scaled(self, scale_x: float, scale_y: float) -> Ellipse:
        """The ellipse after x is multiplied by ``scale_x`` and y by ``scale_y`` (an ellipse again).

        Examples:
            Pixels of 0.3 mm (columns) by 0.2 mm (rows): a circle in pixels is an ellipse in mm.

            >>> circle = Ellipse(100.0, 80.0, 50.0, 50.0, 0.0)
            >>> in_mm = circle.scaled(0.3, 0.2)
            >>> round(in_mm.semi_major, 6), round(in_mm.semi_minor, 6), round(in_mm.axis_ratio, 6)
            (15.0, 10.0, 1.5)
        """
        angle = math.radians(self.angle_deg)
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        shape = np.diag([scale_x, scale_y]) @ rotation @ np.diag([self.semi_major, self.semi_minor])
        axes, lengths, _ = np.linalg.svd(shape)
        direction = math.degrees(math.atan2(axes[1, 0], axes[0, 0])) % 180.0
        center = (self.center_x * scale_x, self.center_y * scale_y)
        return Ellipse(*center, float(lengths[0]), float(lengths[1]), direction)


def ellipse_circumference(a: float, b: float) -> float:
    """Circumference of an ellipse with semi-axes ``a`` and ``b``, in their unit.

    Ramanujan's first approximation, pi (3 (a + b) - sqrt((3 a + b)(a + 3 b))) (S. Ramanujan, "Modular
    equations and approximations to pi", Quarterly Journal of Mathematics 45, 1914), as in the
    ACOUSLIC-AI evaluation. Its relative error is below 1e-6 for axis ratios up to 2.

    Raises:
        ValueError: when a semi-axis is negative or not finite.

    Examples:
        >>> round(ellipse_circumference(50.0, 50.0), 3)  # a circle: 2 pi 50
        314.159
        >>> round(ellipse_circumference(60.0, 40.0), 3)  # the exact value is 317.309
        317.309
    """
    if not (math.isfinite(a) and math.isfinite(b) and a >= 0 and b >= 0):
        raise ValueError(f"semi-axes {a} and {b}; both must be finite and not negative")
    return math.pi * (3 * (a + b) - math.sqrt((3 * a + b) * (a + 3 * b)))


def draw_ellipse(ellipse: Ellipse, shape: tuple[int, int]) -> np.ndarray:
    """Filled ellipse: uint8 [H, W], 1 where the pixel centre lies inside.

    Examples:
        >>> draw_ellipse(Ellipse(2.0, 1.0, 2.0, 1.0, 0.0), (3, 5))
        array([[0, 0, 1, 0, 0],
               [1, 1, 1, 1, 1],
               [0, 0, 1, 0, 0]], dtype=uint8)
    """
    filled = np.zeros(shape, np.uint8)
    points = ellipse.points(256)
    first = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    last = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, (shape[1], shape[0]))
    if (last <= first).any():
        return filled
    angle = math.radians(ellipse.angle_deg)
    x = np.arange(first[0], last[0])[None] - ellipse.center_x
    y = np.arange(first[1], last[1])[:, None] - ellipse.center_y
    along = (x * math.cos(angle) + y * math.sin(angle)) / ellipse.semi_major
    across = (y * math.cos(angle) - x * math.sin(angle)) / ellipse.semi_minor
    filled[first[1] : last[1], first[0] : last[0]] = along**2 + across**2 <= 1
    return filled


def fit_ellipse(points: np.ndarray) -> Ellipse | None:
    """Least-squares ellipse through points: the direct fit of Fitzgibbon, Pilu and Fisher (1999).

    Chosen by experiment on cut ellipses (tests/measure/test_cut_ellipses.py): OpenCV's three variants agree to
    0.01 %; a geometric (orthogonal distance) refinement gained less than 0.1 % where the fit is good and was worse
    where it is poor; and only the direct fit always returns an ellipse, never a hyperbola.

    Args:
        points: float [N, 2] as (x, y).

    Returns:
        None when there are fewer than ``MIN_POINTS`` points or they do not define an ellipse.

    Examples:
        >>> ellipse = fit_ellipse(Ellipse(100.0, 80.0, 60.0, 40.0, 30.0).points(24))
        >>> round(ellipse.semi_major, 2), round(ellipse.semi_minor, 2), round(ellipse.angle_deg, 2)
        (60.0, 40.0, 30.0)
        >>> fit_ellipse(np.zeros((3, 2))) is None
        True
    """
    if len(points) < MIN_POINTS:
        return None
    middle = points.mean(axis=0)
    size = float(np.sqrt(((points - middle) ** 2).sum(axis=1).mean()))
    if size <= 0:
        return None
    # OpenCV works in float32: scale the points to order one first
    (x, y), (width, height), angle = cv2.fitEllipseDirect(((points - middle) / size).astype(np.float32))
    if not np.isfinite([x, y, width, height, angle]).all() or min(width, height) < 1e-3:
        return None
    if width < height:
        width, height, angle = height, width, angle + 90.0
    center = middle + size * np.array([x, y])
    return Ellipse(float(center[0]), float(center[1]), width * size / 2, height * size / 2, angle % 180.0)


def signed_distances(points: np.ndarray, ellipse: Ellipse) -> np.ndarray:
    """Distance of each point [N, 2] from the ellipse, to first order (Sampson 1982); negative inside."""
    along, across = _in_axes(points, ellipse)
    a, b = ellipse.semi_major, ellipse.semi_minor
    level = (along / a) ** 2 + (across / b) ** 2 - 1
    gradient = 2 * np.sqrt((along / a**2) ** 2 + (across / b**2) ** 2)
    return level / np.maximum(gradient, 1e-9)


def largest_gap(points: np.ndarray, ellipse: Ellipse) -> float:
    """Largest arc of the ellipse without a point, degrees of its parametric angle in (0, 360]."""
    along, across = _in_axes(points, ellipse)
    turns = np.sort(np.degrees(np.arctan2(across / ellipse.semi_minor, along / ellipse.semi_major)))
    return float(np.diff(turns, append=turns[0] + 360.0).max())


def _in_axes(points: np.ndarray, ellipse: Ellipse) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of points along the longer and the shorter axis, from the centre."""
    angle = math.radians(ellipse.angle_deg)
    x, y = points[:, 0] - ellipse.center_x, points[:, 1] - ellipse.center_y
    return x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
