"""One frame as a picture: the mask's outline and the fitted ellipse or line drawn over the image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from fetaliqa.errors import ArrayError
from fetaliqa.measure import Ellipse, Line

OUTLINE_COLOUR = (64, 224, 208)  # RGB; turquoise reads on grey speckle, also for the colour-blind
ELLIPSE_COLOUR = (255, 190, 70)  # RGB; amber, the colour of measurements throughout
REFERENCE_COLOUR = (255, 190, 70)  # RGB; a rater's outline
DASH_LENGTH = 9.0  # picture pixels, and as many between dashes
END_BAR = 8.0  # picture pixels of the bar at either end of a line, to both sides
SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def shapes_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments ``ellipse`` and ``line`` of ``frame_picture``, from a frame's record."""
    ellipse, line = fields.get("ellipse"), fields.get("line")
    return {
        "ellipse": None if ellipse is None else Ellipse(**ellipse),
        "line": None if line is None else Line(**line),
    }


def frame_picture(
    frame: np.ndarray,
    mask: np.ndarray | None = None,
    ellipse: Ellipse | None = None,
    *,
    reference: np.ndarray | None = None,
    line: Line | None = None,
    width: int | None = None,
) -> np.ndarray:
    """Draw a frame with its mask's outline (solid) and ellipse (dashed) or line (dashed, with bars at its ends).

    Parameters
    ----------
    frame
        uint8 [H, W].
    mask
        [H, W], non-zero inside; None or empty: no outline.
    ellipse
        In pixels of the frame; None: no ellipse.
    reference
        [H, W], another mask, of which the outline is drawn below the first one's; None: none.
    line
        In pixels of the frame, of the femur; None: no line.
    width
        Width of the picture in pixels, so that lines are as thin as they are shown; None: the frame's.

    Returns
    -------
    numpy.ndarray
        RGB uint8 [H', W', 3].

    Raises
    ------
    ArrayError
        When the frame is not uint8 [H, W], or the mask has another shape.
    """
    if frame.ndim != 2 or frame.dtype != np.uint8:
        raise ArrayError(f"frame of shape {frame.shape} and type {frame.dtype}; expected uint8 [H, W]")
    for one in (mask, reference):
        if one is not None and one.shape != frame.shape:
            raise ArrayError(f"mask of shape {one.shape} for a frame of shape {frame.shape}; they must be equal")
    scale = 1.0 if width is None else width / frame.shape[1]
    size = (round(frame.shape[1] * scale), max(1, round(frame.shape[0] * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    enlarged = frame if scale == 1 else cv2.resize(frame, size, interpolation=smooth)
    picture = np.repeat(enlarged[..., None], 3, axis=2)
    for one, colour in ((reference, REFERENCE_COLOUR), (mask, OUTLINE_COLOUR)):
        if one is not None:
            _outline(picture, one, scale, colour)
    if ellipse is not None:
        _dashed(picture, ellipse, scale)
    if line is not None:
        _dashed_line(picture, line, scale)
    return picture


def _outline(picture: np.ndarray, mask: np.ndarray, scale: float, colour: tuple[int, int, int]) -> None:
    contours, _ = cv2.findContours((mask != 0).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        # smooth the pixel staircase
        line = _smoothed(contour[:, 0].astype(float), scale)
        cv2.polylines(picture, [_fixed(line, scale)], True, colour, 1, cv2.LINE_AA, SHIFT)


def _smoothed(points: np.ndarray, scale: float) -> np.ndarray:
    if scale < 1.5 or len(points) < 9:
        return points
    kernel = np.array([1, 2, 3, 2, 1]) / 9
    around = np.concatenate([points[-2:], points, points[:2]])
    return np.stack([np.convolve(around[:, axis], kernel, mode="valid") for axis in (0, 1)], axis=1)


def _fixed(points: np.ndarray, scale: float) -> np.ndarray:
    """Frame coordinates (pixel centres) as fixed-point picture coordinates."""
    return np.round(((points + 0.5) * scale - 0.5) * (1 << SHIFT)).astype(np.int32)


def _dashed(picture: np.ndarray, ellipse: Ellipse, scale: float) -> None:
    around = 2 * math.pi * math.hypot(ellipse.semi_major, ellipse.semi_minor) / math.sqrt(2) * scale
    dashes = max(8, round(around / (2 * DASH_LENGTH)))
    steps = 6  # short chords per dash
    points = _fixed(ellipse.points(dashes * 2 * steps), scale)
    for start in range(0, len(points), 2 * steps):
        cv2.polylines(picture, [points[start : start + steps + 1]], False, ELLIPSE_COLOUR, 1, cv2.LINE_AA, SHIFT)


def _dashed_line(picture: np.ndarray, line: Line, scale: float) -> None:
    ends = line.ends()
    dashes = max(4, round(line.length * scale / (2 * DASH_LENGTH))) * 2 - 1  # odd: a dash at either end
    along = np.linspace(0, 1, dashes + 1)[:, None]
    points = _fixed(ends[0] + along * (ends[1] - ends[0]), scale)
    for start in range(0, dashes, 2):
        cv2.polylines(picture, [points[start : start + 2]], False, ELLIPSE_COLOUR, 1, cv2.LINE_AA, SHIFT)
    if line.length == 0:
        return
    direction = (ends[1] - ends[0]) / line.length
    across = np.array([-direction[1], direction[0]]) * (END_BAR / scale)
    for end in ends:
        bar = _fixed(np.array([end - across, end + across]), scale)
        cv2.polylines(picture, [bar], False, ELLIPSE_COLOUR, 1, cv2.LINE_AA, SHIFT)
