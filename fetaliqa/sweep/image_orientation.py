"""Orientation of images: EXIF for stills, direction cosines for volumes."""

from __future__ import annotations

import numpy as np

UPRIGHT = 1
"""EXIF orientation of an image that is stored upright."""

_TRANSPOSED = (5, 6, 7, 8)
_ROWS_REVERSED = (3, 4, 7, 8)
_COLUMNS_REVERSED = (2, 3, 6, 7)


def _reversed(pixels: np.ndarray, exif: int) -> np.ndarray:
    if exif in _ROWS_REVERSED:
        pixels = pixels[..., ::-1, :]
    return pixels[..., ::-1] if exif in _COLUMNS_REVERSED else pixels


def upright(pixels: np.ndarray, exif: int) -> np.ndarray:
    """Turn stored pixels [..., H, W] upright (EXIF 2.3, tag 0x0112)."""
    return _reversed(pixels.swapaxes(-1, -2) if exif in _TRANSPOSED else pixels, exif)


def as_stored(pixels: np.ndarray, exif: int) -> np.ndarray:
    """The inverse of :func:`upright`."""
    pixels = _reversed(pixels, exif)
    return pixels.swapaxes(-1, -2) if exif in _TRANSPOSED else pixels


def stored_shape(shape: tuple[int, int, int], exif: int) -> tuple[int, int, int]:
    """Shape (T, H, W) of the stored pixels for frames of upright ``shape``, or the inverse."""
    count, height, width = shape
    return (count, width, height) if exif in _TRANSPOSED else shape


def anatomical_code(direction: tuple[float, ...]) -> str:
    """Nearest anatomical direction of each axis (L or R, P or A, S or I); ``LPS`` for the identity.

    Args:
        direction: 3 x 3 direction cosines (LPS), row by row.
    """
    columns = np.reshape(direction, (3, 3)).T
    nearest = [int(np.abs(column).argmax()) for column in columns]
    return "".join("RAI"[axis] if column[axis] < 0 else "LPS"[axis] for axis, column in zip(nearest, columns))


def stored_axes_note(direction: tuple[float, ...]) -> str | None:
    """The note on frames whose columns or rows do not run to the left and posterior; None otherwise."""
    code = anatomical_code(direction)
    if code[:2] == "LP":
        return None
    return (
        f"frames are shown as they are stored; by the file's orientation columns run towards {code[0]} and rows "
        f"towards {code[1]}, which masks keep"
    )
