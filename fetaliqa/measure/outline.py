"""Outlines of masks: the ellipse fitted to the part inside the field of view, and its circumference in mm."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.ellipse import (
    MIN_POINTS,
    Ellipse,
    draw_ellipse,
    ellipse_circumference,
    fit_ellipse,
    largest_gap,
    signed_distances,
)

# Outline points this close to the border of the field of view follow the border, not the anatomy: three 3 x 3
# dilations of the border line in the ACOUSLIC-AI evaluation (commit ebf14b3).
BORDER_PX = 3
# A smaller share of the outline does not determine the ellipse. Measured on ellipses of mean radius 120 px with 2
# px of smooth jitter (tests/measure/test_cut_ellipses.py), 95th percentile of the circumference's error with the
# same arc missing on two sides: 1.1 % at 60 degrees each, 2.7 % at 90, 5.3 % at 108, 9.3 % at 120.
MIN_FITTED_SHARE = 0.4
# Longest missing arc. The same error for one missing arc: 0.7 % at 60 degrees, 1.3 % at 90, 2.5 % at 120, 4.9 % at
# 150, 6.6 % at 160, 12 % at 180, 25 % at 200.
MAX_GAP_DEG = 160.0
# Least IoU of mask and ellipse inside the field of view at which the ellipse is accepted.
MIN_OVERLAP = 0.6
# Residual above which a circumference is doubtful. Correct ones of held-out phantoms reach 0.062.
MAX_RESIDUAL = 0.08
MAX_POINTS = 720  # outline points used in the fit; more cost time and change the result by less than 0.01 px


@dataclass(frozen=True)
class OutlineFit:
    """An ellipse fitted to a mask's outline.

    Attributes:
        ellipse: in pixels of the mask's grid; None when no ellipse fits (see ``absent_reason``).
        circumference_mm: of the ellipse, in mm; None without ellipse or without pixel spacing.
        absent_reason: why ``circumference_mm`` is None, as a message; None when it is given.
        residual: RMS distance of the fitted outline points from the ellipse, divided by the
            ellipse's mean radius (0: perfect; drawn ellipses reach 0.002-0.01).
        fitted_share: share in [0, 1] of the outline that was fitted: the part away from the field of view's
            border.
        overlap: intersection over union in [0, 1] of mask and ellipse inside the field of view.
        axis_ratio: longer over shorter axis of the ellipse, in mm where spacing is known.
    """

    ellipse: Ellipse | None
    circumference_mm: float | None
    absent_reason: str | None
    residual: float | None = None
    fitted_share: float = 0.0
    overlap: float | None = None
    axis_ratio: float | None = None

    @property
    def size_mm(self) -> float | None:
        """The circumference, under the name that it shares with the length of a line."""
        return self.circumference_mm

    def warning(self, anatomy: Anatomy) -> str | None:
        """Warning about an implausible circumference or a poor fit; None without one."""
        if self.circumference_mm is None:
            return None
        warnings = []
        low, high = anatomy.plausible_mm
        if not low <= self.circumference_mm <= high:
            warnings.append(
                f"{anatomy.measurement} {self.circumference_mm:.0f} mm is outside the plausible "
                f"{low:.0f}-{high:.0f} mm; check the outline and the pixel spacing"
            )
        if self.residual is not None and self.residual > MAX_RESIDUAL:
            warnings.append(
                f"the outline lies {self.residual:.0%} of its radius from the fitted ellipse; check the outline"
            )
        return "; ".join(warnings) or None


def fit_outline(
    mask: np.ndarray,
    spacing: tuple[float, float] | None,
    field_of_view: np.ndarray | None = None,
    *,
    border_px: int = BORDER_PX,
) -> OutlineFit:
    """Fit an ellipse to a mask's outline, excluding the parts cut by the field of view or the image border.

    The mask is limited to the field of view, and its largest component is used with holes filled. The outline
    points lie half-way between neighbouring inside and outside pixels: contours through the centres of the
    boundary pixels would make the ellipse half a pixel too small all around. With spacing the fit is made in mm,
    which accounts for different row and column spacings.

    Args:
        mask: integer or bool [H, W]; non-zero is foreground.
        spacing: (row, column) spacing in mm, or None when unknown.
        field_of_view: [H, W], non-zero inside; None: the whole image.
        border_px: outline points within this many pixels of the border are excluded. The default also suits masks
            resampled from the model's 224-pixel grid: 1 to 8 px change the circumference by less than 0.1 %.

    Raises:
        ValueError: when shapes differ, or a spacing is not positive.
    """
    check_mask(mask, spacing, field_of_view)
    inside = (mask != 0) if field_of_view is None else (mask != 0) & (field_of_view != 0)
    component = main_component(inside)
    if component is None:
        return OutlineFit(None, None, "the mask is empty inside the field of view")
    free = away_from_border(mask.shape, field_of_view, border_px)
    points, selected = outline_points(component, free)
    share = float(selected.mean())
    if share < MIN_FITTED_SHARE:
        reason = f"only {share:.0%} of the outline is inside the field of view; {MIN_FITTED_SHARE:.0%} are needed"
        return OutlineFit(None, None, reason, fitted_share=share)
    fitted = points[selected]
    if len(fitted) < MIN_POINTS:
        return OutlineFit(None, None, f"only {len(fitted)} outline points for an ellipse", fitted_share=share)
    return _fitted(component, field_of_view, fitted, share, spacing)


def _fitted(
    component: np.ndarray,
    field_of_view: np.ndarray | None,
    points: np.ndarray,
    share: float,
    spacing: tuple[float, float] | None,
) -> OutlineFit:
    row_mm, column_mm = spacing or (1.0, 1.0)
    scaled = points[:: max(1, -(-len(points) // MAX_POINTS))] * (column_mm, row_mm)
    ellipse = fit_ellipse(scaled)
    if ellipse is None:
        return OutlineFit(None, None, "the outline is not an ellipse", fitted_share=share)
    gap = largest_gap(scaled, ellipse)
    if gap > MAX_GAP_DEG:
        reason = (
            f"{gap:.0f} degrees of the outline in one piece are outside the field of view; "
            f"at most {MAX_GAP_DEG:.0f} may be"
        )
        return OutlineFit(None, None, reason, fitted_share=share)
    residual = float(
        np.sqrt((signed_distances(scaled, ellipse) ** 2).mean()) / np.sqrt(ellipse.semi_major * ellipse.semi_minor)
    )
    pixels = ellipse.scaled(1 / column_mm, 1 / row_mm)
    overlap = _overlap(component, pixels, field_of_view)
    if overlap < MIN_OVERLAP:
        reason = f"the outline is not an ellipse (overlap of mask and fitted ellipse {overlap:.2f})"
        return OutlineFit(None, None, reason, residual, share, overlap, ellipse.axis_ratio)
    if spacing is None:
        reason = "no pixel spacing in the file"
        return OutlineFit(pixels, None, reason, residual, share, overlap, ellipse.axis_ratio)
    length = ellipse_circumference(ellipse.semi_major, ellipse.semi_minor)
    return OutlineFit(pixels, length, None, residual, share, overlap, ellipse.axis_ratio)


def check_mask(mask: np.ndarray, spacing: tuple[float, float] | None, field_of_view: np.ndarray | None) -> None:
    """Raise ValueError for arguments of a fit that do not go together."""
    if mask.ndim != 2:
        raise ValueError(f"mask of shape {mask.shape}; expected [H, W]")
    if field_of_view is not None and field_of_view.shape != mask.shape:
        raise ValueError(f"field of view of shape {field_of_view.shape} for a mask of shape {mask.shape}")
    if spacing is not None and not all(np.isfinite(value) and value > 0 for value in spacing):
        raise ValueError(f"spacing {spacing} mm; both values must be positive")


def main_component(mask: np.ndarray) -> np.ndarray | None:
    """Largest 8-connected component of a mask with its holes filled: uint8 [H, W] 0/1; None when empty."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, [max(contours, key=lambda c: (cv2.contourArea(c), len(c)))], -1, [1.0], cv2.FILLED)
    return filled


def away_from_border(shape: tuple[int, ...], field_of_view: np.ndarray | None, border_px: int) -> np.ndarray:
    """uint8 [H, W], 1 where a pixel is more than ``border_px`` away from the border line."""
    inside = np.ones(shape, np.uint8) if field_of_view is None else (field_of_view != 0).astype(np.uint8)
    side = 2 * (border_px + 1) + 1
    # outside of the image counts as outside of the field of view
    return cv2.erode(inside, np.ones((side, side), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=[0.0])


def outline_points(component: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points half-way between neighbouring inside and outside pixels, and which of them are free.

    Args:
        component: uint8 [H, W] of 0 and 1.
        free: uint8 [H, W], 1 away from the border of the field of view.

    Returns:
        (x, y) points float [N, 2] in no particular order, and bool [N]: the inside pixel is free.
    """
    x, y, width, height = cv2.boundingRect(component)
    crop = np.pad(component[y : y + height, x : x + width], 1)
    allowed = np.pad(free[y : y + height, x : x + width], 1) != 0
    points, selected = [], []
    for axis in (0, 1):
        rows, columns = np.nonzero(np.diff(crop.astype(np.int8), axis=axis))
        ahead = (rows + 1, columns) if axis == 0 else (rows, columns + 1)
        here_inside = crop[rows, columns] != 0
        selected.append(np.where(here_inside, allowed[rows, columns], allowed[ahead]))
        # the pad moves the crop's first pixel to index 1
        points.append(
            np.stack([columns + 0.5 * (axis == 1) + x - 1, rows + 0.5 * (axis == 0) + y - 1], axis=1).astype(float)
        )
    return np.concatenate(points), np.concatenate(selected)


def _overlap(component: np.ndarray, ellipse: Ellipse, field_of_view: np.ndarray | None) -> float:
    drawn = draw_ellipse(ellipse, (component.shape[0], component.shape[1]))
    if field_of_view is not None:
        drawn &= (field_of_view != 0).astype(np.uint8)
    return cv2.countNonZero(drawn & component) / cv2.countNonZero(drawn | component)
