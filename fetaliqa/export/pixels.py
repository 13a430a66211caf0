"""Still frames as files: the same pixels, without loss."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

MM_PER_CM = 10.0


def png_bytes(pixels: np.ndarray) -> bytes:
    """A grey PNG of uint8 [H, W]. PNG's own unit of pixel size, whole pixels per metre, is too coarse to use."""
    if not pixels.any():
        return _black_png(*pixels.shape)
    return cv2.imencode(".png", pixels)[1].tobytes()


@lru_cache(maxsize=16)
def _black_png(height: int, width: int) -> bytes:
    """Empty masks are most of what is written, and all alike."""
    return cv2.imencode(".png", np.zeros((height, width), np.uint8))[1].tobytes()


def write_tiff(path: Path, pixels: np.ndarray, spacing: tuple[float, float] | None) -> None:
    """Write uint8 [H, W] as a deflated TIFF; its resolution tags say how large a pixel is.

    Args:
        path: file to write.
        pixels: uint8 [H, W].
        spacing: (row, column) in mm, or None.
    """
    from PIL import Image
    from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    if spacing is not None:
        tags[282] = IFDRational(*_per_centimetre(spacing[1]))  # XResolution
        tags[283] = IFDRational(*_per_centimetre(spacing[0]))  # YResolution
        tags[296] = 3  # ResolutionUnit: centimetre
    Image.fromarray(pixels).save(path, "TIFF", compression="tiff_deflate", tiffinfo=tags)


def _per_centimetre(spacing_mm: float) -> tuple[int, int]:
    """Pixels per cm as a fraction of 32-bit numbers, good to nine digits."""
    denominator = round(spacing_mm * 10**8)
    return round(MM_PER_CM * 10**8), denominator
