"""Field of view: the part of a frame that shows ultrasound, usually a fan on black.

Outlines are cut at its border, so the cut edge must be known before an ellipse is fitted. The area of a mask is
measured relative to the field of view, not to the whole image.
"""

from __future__ import annotations

import cv2
import numpy as np

# Grey levels up to this are background: scanners write exact 0 outside the fan, lossy compression adds 1-2.
DARK_LEVEL = 2
CLOSING_SHARE = 0.02  # of the shorter image side: gaps in speckle and thin shadows closed before labelling
WHOLE_IMAGE_SHARE = 0.98  # of the image: above this the image is a rectangle without a black surround
THUMBNAIL_STEP = 8  # pixels; enough to distinguish black frames from others without reading all pixels
# A curved probe's face bends below the chord of its ends by (w/2) tan(angle/4): 0.27 w at a full 120 degree fan.
MAX_FACE_DEPTH = 0.35  # of the chord; deeper means shadow or missing contact, not a probe face


def field_of_view(frames: np.ndarray, max_frames: int = 64) -> np.ndarray:
    """Field of view of a sweep, from the pixels that are bright in any frame.

    The maximum of each pixel over up to ``max_frames`` evenly spaced non-black frames is thresholded. The largest
    component after closing removes specks and separate text. Its convex hull fills shadows and dark corners. The
    only concave part of a curvilinear fan, the probe's face at the top, is cut out as a circular arc fitted to the
    first bright pixel of each column.

    Limits: convexity is assumed apart from the probe face. On a single frame, a fan edge that is dark from top to
    bottom, or dark lower corners beyond the last bright pixel, are not recovered (about 1 % of the field of view
    on a typical real frame). Text touching the fan, or other bright panels in a screen capture, enlarge it. Noise
    above ``DARK_LEVEL`` all over the image makes it the whole image.

    Args:
        frames: uint8 [T, H, W]; black padding frames are ignored.
        max_frames: number of frames to use, at least 1.

    Returns:
        uint8 [H, W] of 0 and 1; all ones for an image without a black surround, and when all frames are black.

    Raises:
        ValueError: when ``frames`` is not a stack, or ``max_frames`` is below 1.
    """
    if frames.ndim != 3 or max_frames < 1:
        raise ValueError(f"frames of shape {frames.shape}, max_frames {max_frames}; expected [T, H, W] and >= 1")
    brightest = _brightest(frames, max_frames)
    component = _largest_component(brightest > DARK_LEVEL)
    if component is None:
        return np.ones(frames.shape[1:], np.uint8)
    contours, _ = cv2.findContours(component, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate(contours)
    hull = cv2.convexHull(outline)
    filled = np.zeros_like(component)
    cv2.fillConvexPoly(filled, hull, [1.0])
    if filled.mean() > WHOLE_IMAGE_SHARE:
        return np.ones_like(filled)
    _cut_probe_face(filled, component)
    return filled


def _brightest(frames: np.ndarray, max_frames: int) -> np.ndarray:
    lit = np.flatnonzero((frames[:, ::THUMBNAIL_STEP, ::THUMBNAIL_STEP] > DARK_LEVEL).any(axis=(1, 2)))
    candidates = lit if len(lit) else np.arange(len(frames))
    if not len(candidates):
        return np.zeros(frames.shape[1:], np.uint8)
    selected = candidates[np.linspace(0, len(candidates) - 1, min(max_frames, len(candidates))).astype(int)]
    brightest = frames[selected[0]].copy()
    for index in selected[1:]:
        np.maximum(brightest, frames[index], out=brightest)
    return brightest


def _largest_component(lit: np.ndarray) -> np.ndarray | None:
    """Largest connected part of the bright pixels after closing gaps and removing specks; uint8 0/1 or None."""
    mask = cv2.medianBlur(lit.astype(np.uint8), 3)  # isolated bright pixels are compression noise
    radius = max(1, round(min(mask.shape) * CLOSING_SHARE / 2))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    padded = cv2.copyMakeBorder(mask, radius, radius, radius, radius, cv2.BORDER_CONSTANT, value=[0.0])
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[radius:-radius, radius:-radius]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    # the original pixels, not the closed ones: closing rounds the probe face
    return ((labels == largest) & lit).astype(np.uint8)


def _cut_probe_face(filled: np.ndarray, component: np.ndarray) -> None:
    """Remove the region between the hull's top chord and the probe face, in place."""
    top = np.flatnonzero(filled.any(axis=1))[0]
    near_top = filled[top : top + 3].any(axis=0)
    columns = np.flatnonzero(near_top)
    left, right = int(columns[0]), int(columns[-1])
    width = right - left
    if width < 16:  # pixels; the chord is too short to estimate a curvature
        return
    across = np.arange(left, right + 1)
    first_lit = np.argmax(component[:, across], axis=0).astype(float)
    depth = first_lit - top
    profile = 1.0 - ((across - (left + right) / 2) / (width / 2)) ** 2  # parabola through the chord's ends
    central = profile > 0.5
    sagitta = float(np.median(depth[central] / profile[central]))
    if not 1.5 <= sagitta <= MAX_FACE_DEPTH * width:
        return
    radius = (width**2 / 4 + sagitta**2) / (2 * sagitta)
    offset = across - (left + right) / 2
    face = top + np.sqrt(np.maximum(radius**2 - offset**2, 0)) - (radius - sagitta)
    # a small part of the face may be darker than the rest: bright pixels are never cut
    stop = np.minimum(np.ceil(face - 0.5), first_lit).astype(int)
    for column, end in zip(across, stop):
        filled[top:end, column] = 0
