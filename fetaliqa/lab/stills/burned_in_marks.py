"""Removal of burned-in graphics (calipers, dotted lines and ellipses, text) from an image.

Scanners paint graphics in one exact grey level, pixel by pixel, onto tissue whose levels vary. Two kinds occur in
the African planes:

- bright thin graphics: Ghana's crosses and dots (level 255, which its tissue never has), Uganda's text (175);
- grey blocks with a dark shadow: Uganda's dots (2 x 2 pixels of 64, a shadow of 32 to the right and below) and
  crosses (bars of 64, three pixels wide), grey on dark tissue and black on bright.

Detected marks are inpainted (Telea). The outline is not used, so the inpainted pixels carry no information about
it: a dot is at most 3 x 3 native pixels, about one pixel of the model's grid.
Graphics that were resampled or lossily compressed have no exact level and are not detected.
"""

from __future__ import annotations

import cv2
import numpy as np

STANDS_OUT = 60  # grey levels above the local median: thin bright graphics; speckle of these images seldom does
STANDS_OUT_LEAST = 12  # grey levels above the local median for further pixels of a level that is graphics
MIN_PIXELS = 4  # of one level that stand out; below, a level is not taken for graphics
LEVEL_SHARE = 0.3  # of all pixels that stand out which one level must have to be graphics
MEDIAN_PX = 5  # wider than any stroke
BLOCK_LEVEL, TEXT_LEVEL, SHADOW_LEVEL = 64, 175, 32
MIN_SHADOWED = 3  # pixels of a letter with a shadow to the lower right; tissue has next to none
DOT = np.array([[64, 64, 32], [64, 64, 32], [32, 32, 32]], np.uint8)
REACH_PX = 5  # pixels from a dot or bar to others of the same mark where dots overlap
FILL_RADIUS = 3  # pixels around a hole that it is filled from


def without_marks(image: np.ndarray) -> np.ndarray:
    """The image with its burned-in graphics filled; the image itself where there are none.

    Args:
        image: uint8 [H, W], native pixels, not resampled.
    """
    mask = marks_mask(image)
    return cv2.inpaint(image, mask, FILL_RADIUS, cv2.INPAINT_TELEA) if mask.any() else image


def marks_mask(image: np.ndarray) -> np.ndarray:
    """Where graphics are burned in: uint8 [H, W] of 0 and 1."""
    mask = _bright_graphics(image) | _blocks(image) | _shadowed_text(image)
    # where a letter crosses a cross, single pixels have a level of neither
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)).astype(np.uint8)


def _bright_graphics(image: np.ndarray) -> np.ndarray:
    excess = cv2.subtract(image, cv2.medianBlur(image, MEDIAN_PX))
    counts = np.bincount(image[excess > STANDS_OUT], minlength=256)
    levels = np.flatnonzero((counts >= MIN_PIXELS) & (counts >= LEVEL_SHARE * counts.sum()))
    exact = np.isin(image, levels) & (excess > STANDS_OUT_LEAST)
    rounded = np.isin(image, levels - 1) & (excess > STANDS_OUT)  # some of Ghana's dots are 254
    return (exact | rounded).astype(np.uint8)


def _blocks(image: np.ndarray) -> np.ndarray:
    """Dots and bars of ``BLOCK_LEVEL``, with what touches them."""
    dots = _exact(image, DOT)
    level = (image == BLOCK_LEVEL).astype(np.uint8)
    bars = cv2.morphologyEx(level, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    if not (dots.any() or bars.any()):
        return dots
    whole = cv2.dilate(dots, np.ones((3, 3), np.uint8), anchor=(2, 2))  # a dot's nine pixels from its first
    blocks = cv2.bitwise_or(whole, bars)
    near = cv2.dilate(blocks, np.ones((2 * REACH_PX + 1, 2 * REACH_PX + 1), np.uint8))
    # where dots overlap, what is left of each is a 2 x 2 block or its shadow, connected to a mark
    paint = (np.isin(image, (BLOCK_LEVEL, SHADOW_LEVEL)) & (near != 0)).astype(np.uint8)
    _, parts = cv2.connectedComponents(paint, connectivity=8)
    touching = np.unique(parts[(blocks != 0) & (paint != 0)])
    return blocks | np.isin(parts, touching[touching > 0]).astype(np.uint8)


def _shadowed_text(image: np.ndarray) -> np.ndarray:
    """Letters of ``TEXT_LEVEL`` with their shadow one pixel to the lower right."""
    level = (image == TEXT_LEVEL).astype(np.uint8)
    shadow = np.zeros_like(level)
    shadow[:-1, :-1] = level[:-1, :-1] & (image[1:, 1:] == SHADOW_LEVEL)
    count, parts = cv2.connectedComponents(level, connectivity=8)
    shadowed = np.bincount(parts.ravel(), shadow.ravel(), count) >= MIN_SHADOWED
    shadowed[0] = False
    letters = shadowed[parts].astype(np.uint8)
    moved = np.zeros_like(letters)
    moved[1:, 1:] = letters[:-1, :-1]
    return letters | (moved & (image == SHADOW_LEVEL))


def _exact(image: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """1 at the first (upper left) pixel of each exact copy of a pattern: uint8 [H, W]."""
    mask = np.zeros(image.shape, np.uint8)
    rows, columns = pattern.shape
    if image.shape[0] < rows or image.shape[1] < columns:
        return mask
    windows = np.lib.stride_tricks.sliding_window_view(image, pattern.shape)
    mask[: windows.shape[0], : windows.shape[1]] = (windows == pattern).all(axis=(2, 3))
    return mask
