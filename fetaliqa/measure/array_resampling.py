"""``SquareGrid``'s resampling without torch: frames to the bit, masks and probabilities to rounding errors.

torch's antialiased bicubic kernel for 8-bit values (``_compute_index_ranges_int16_weights`` of its
``UpSampleKernel.cpp``) rounds the weights to 16 bits, and each of its two passes to whole grey levels. Here a pass
is a product with the matrix of these weights, in blocks of outputs, because few inputs count for each; it is exact
in float64. Probabilities are resampled by OpenCV: its bilinear interpolation has the same pixel-centre convention.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image

from fetaliqa.measure.square_grid import SquareGrid

CUBIC = -0.5  # the kernel's parameter a
REACH = 2.0  # of the kernel, in pixels of the coarser grid
WEIGHT_BITS = 15
MOST_PRECISION = 22  # bits after the point
BLOCK = 16  # outputs that are computed together

Block = tuple[slice, slice, np.ndarray]
"""Outputs, inputs, and weights float64 [inputs, outputs]."""


def square_arrays(grid: SquareGrid, frames: np.ndarray) -> np.ndarray:
    """Frames uint8 [N, height, width] on the model's grid: uint8 [N, size, size], as ``SquareGrid.to_square``."""
    squares = np.zeros((len(frames), grid.size, grid.size), np.uint8)
    if grid.side == grid.size:
        squares[:, grid.top : grid.top + grid.height, grid.left : grid.left + grid.width] = frames
        return squares
    columns = weight_blocks(grid.side, grid.left, grid.width, grid.size)
    rows = weight_blocks(grid.side, grid.top, grid.height, grid.size)
    for square, frame in zip(squares, frames):
        narrow = _pass(frame, columns, grid.size)
        square[:] = _pass(np.ascontiguousarray(narrow.T), rows, grid.size).T
    return squares


def _pass(image: np.ndarray, blocks: list[Block], size: int) -> np.ndarray:
    """Resample the columns of an image uint8 [R, C] to ``size``."""
    values = image.astype(np.float64)
    sums = np.empty((len(image), size))
    for outputs, inputs, weights in blocks:
        np.matmul(values[:, inputs], weights, out=sums[:, outputs])
    sums += 0.5  # the conversion to whole numbers rounds down
    return np.clip(sums, 0, 255, out=sums).astype(np.uint8)


@lru_cache(maxsize=16)
def weight_blocks(side: int, start: int, length: int, size: int) -> list[Block]:
    """The weights of one pass.

    Args:
        side: of the padded square, pixels.
        start: first pixel of the image in it; pixels outside of the image are 0.
        length: of the image, pixels.
        size: of the model's grid.
    """
    scale = side / size
    centres = (np.arange(size) + 0.5) * scale
    away = np.abs(np.arange(side) + 0.5 - centres[:, None]) / max(scale, 1.0)
    near = ((CUBIC + 2) * away - (CUBIC + 3)) * away * away + 1
    far = ((CUBIC * away - 5 * CUBIC) * away + 8 * CUBIC) * away - 4 * CUBIC
    weights = np.where(away < 1, near, np.where(away < REACH, far, 0))
    weights /= weights.sum(axis=1, keepdims=True)
    unit = 2.0 ** _precision(float(weights.max()))
    weights = np.trunc(weights * unit + np.copysign(0.5, weights)) / unit
    weights = weights[:, start : start + length]
    blocks = []
    for first in range(0, size, BLOCK):
        part = weights[first : first + BLOCK]
        used = np.flatnonzero(part.any(axis=0))
        inputs = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)
        blocks.append((slice(first, first + len(part)), inputs, np.ascontiguousarray(part[:, inputs].T)))
    return blocks


def _precision(largest: float) -> int:
    """Bits after the point of 16-bit weights, as many as the largest one allows."""
    limit = 1 << WEIGHT_BITS
    return next((n for n in range(MOST_PRECISION) if int(0.5 + largest * (1 << n + 1)) >= limit), MOST_PRECISION)


def mask_array(grid: SquareGrid, mask: np.ndarray) -> np.ndarray:
    """A mask [height, width] on the model's grid: uint8 [size, size], as ``SquareGrid.mask_to_square``."""
    padded = np.zeros((grid.side, grid.side), np.float32)
    padded[grid.top : grid.top + grid.height, grid.left : grid.left + grid.width] = mask != 0
    shares = Image.fromarray(padded).resize((grid.size, grid.size), Image.Resampling.BILINEAR)
    return (np.asarray(shares) >= 0.5).astype(np.uint8)


def foreground_arrays(grid: SquareGrid, probabilities: np.ndarray, threshold: float) -> Iterator[np.ndarray]:
    """Foreground (p > ``threshold``) of maps float32 [N, size, size]: uint8 [height, width] of each."""
    for one in probabilities:
        square = cv2.resize(one, (grid.side, grid.side), interpolation=cv2.INTER_LINEAR)
        inner = square[grid.top : grid.top + grid.height, grid.left : grid.left + grid.width]
        yield (inner > threshold).astype(np.uint8)
