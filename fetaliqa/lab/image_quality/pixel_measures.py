"""Image quality measures computed from the pixels inside the field of view."""

from __future__ import annotations

import cv2
import numpy as np

GREY_LEVELS = 256


def sharpness(frame: np.ndarray, inside: np.ndarray) -> float:
    """Variance of the Laplacian (grey levels squared) over the pixels whose 3 x 3 neighbourhood is inside.

    NaN where there is no such pixel.
    """
    # without the edge of the fan, which is the sharpest line of every frame
    core = cv2.erode(
        inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=[0.0]
    )
    values = cv2.Laplacian(frame, cv2.CV_64F)[core > 0]
    return float(values.var()) if len(values) else float("nan")


def entropy(frame: np.ndarray, inside: np.ndarray) -> float:
    """Shannon entropy of the grey levels inside, bits (0 to 8)."""
    counts = np.bincount(frame[inside], minlength=GREY_LEVELS)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def contrast(frame: np.ndarray, inside: np.ndarray) -> float:
    """Root mean square contrast: standard deviation of the pixels inside, as a fraction of full scale."""
    return float(frame[inside].std() / 255.0)
