"""Objects without an anatomy, to follow prompts on: regions of like grey, lesions, arbitrary shapes."""

from __future__ import annotations

import math

import cv2
import numpy as np

AREA = (0.003, 0.12)  # of the square, of an object
COMPACT = 0.65  # least share of its convex hull that a region of like grey fills
LIT = 12  # grey level from which a pixel shows tissue
TRIES = 8
HARMONICS = 5  # of a random outline


def grey_region(image: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A connected region of similar grey around a random pixel, smoothed, without holes.

    Args:
        image: uint8 [S, S].
        rng: draws the pixel, the smoothing and the tolerance.

    Returns:
        A mask, uint8 [S, S] of 0 and 1; None when no region of a usable size was met.
    """
    smooth = cv2.GaussianBlur(image, (0, 0), rng.uniform(1.5, 4.0))
    rows, columns = np.nonzero(smooth > LIT)
    if not len(rows):
        return None
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    for _ in range(TRIES):
        drawn = int(rng.integers(len(rows)))
        around = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint8)
        tolerance = [float(rng.uniform(6, 30))]
        flags = 4 | (1 << 8) | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE
        seed = int(columns[drawn]), int(rows[drawn])
        cv2.floodFill(smooth, around, seed, [0.0], tolerance, tolerance, flags)
        smoothed = cv2.morphologyEx(around[1:-1, 1:-1], cv2.MORPH_CLOSE, kernel)
        mask = _one_part(cv2.morphologyEx(smoothed, cv2.MORPH_OPEN, kernel))
        if mask is not None and AREA[0] <= mask.mean() <= AREA[1] and _solidity(mask) >= COMPACT:
            return mask
    return None


def random_shape(size: int, rng: np.random.Generator, where: np.ndarray | None = None) -> np.ndarray:
    """A round, lobed shape, uint8 [size, size]; centred on a pixel of ``where`` if given."""
    radius = size * math.sqrt(rng.uniform(*AREA) / math.pi)
    rows, columns = np.nonzero(where) if where is not None and where.any() else (None, None)
    if rows is None or columns is None:
        x, y = rng.uniform(0.2, 0.8, 2) * size
    else:
        drawn = int(rng.integers(len(rows)))
        x, y = float(columns[drawn]), float(rows[drawn])
    turns = np.linspace(0, 2 * math.pi, 90, endpoint=False)
    lengths = np.ones_like(turns)
    for number in range(2, 2 + HARMONICS):
        lengths += rng.normal(0, 0.16 / number) * np.cos(number * turns + rng.uniform(0, 2 * math.pi))
    ratio, angle = math.sqrt(rng.uniform(1.0, 2.2)), rng.uniform(0, math.pi)
    along = radius * ratio * lengths * np.cos(turns)
    across = radius / ratio * lengths * np.sin(turns)
    outline = np.stack(
        [
            x + along * math.cos(angle) - across * math.sin(angle),
            y + along * math.sin(angle) + across * math.cos(angle),
        ],
        axis=1,
    )
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], [1.0])
    return mask


def with_lesion(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The image with a darker or brighter lesion in its tissue, and the lesion's mask, both uint8 [S, S]."""
    mask = random_shape(image.shape[0], rng, image > LIT)
    pixels = image.astype(np.float32)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), rng.uniform(0.6, 2.5))
    grain = cv2.GaussianBlur(rng.standard_normal(image.shape).astype(np.float32), (0, 0), rng.uniform(0.6, 1.5))
    grain = grain / max(float(grain.std()), 1e-6)
    level = max(float(cv2.mean(pixels, mask)[0]), 20.0) if mask.any() else 40.0
    factor = rng.uniform(0.05, 0.6) if rng.random() < 0.65 else rng.uniform(1.6, 3.0)
    kept = rng.uniform(0.1, 0.6)  # of the texture that was there
    filled = factor * (kept * pixels + (1 - kept) * level * np.maximum(1 + rng.uniform(0.1, 0.4) * grain, 0))
    if rng.random() < 0.3:  # a bright rim
        rim = cv2.GaussianBlur(
            (cv2.dilate(mask, np.ones((5, 5), np.uint8)) - mask).astype(np.float32), (0, 0), 1.0
        )
        pixels = pixels + rim * rng.uniform(30, 90)
    return np.clip(pixels + soft * (filled - pixels), 0, 255).astype(np.uint8), mask


def _one_part(mask: np.ndarray) -> np.ndarray | None:
    """The largest part of a mask with its holes filled."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    filled = np.zeros_like(mask)
    cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, [1.0], cv2.FILLED)
    return filled


def _solidity(mask: np.ndarray) -> float:
    """Share of its convex hull that a mask fills."""
    points = cv2.findNonZero(mask)
    return float(mask.sum()) / max(1.0, cv2.contourArea(cv2.convexHull(points)))
