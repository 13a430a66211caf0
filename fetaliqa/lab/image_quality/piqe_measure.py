"""PIQE: a no-reference measure from the distortion of active blocks.

Venkatanath, Praneeth, Chandrasekhar, Channappayya & Medasani, "Blind image quality evaluation using perception
based features", National Conference on Communications, 2015. Own code: the package pypiqe asks for opencv-python,
which overwrites opencv-python-headless.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

BLOCK = 16  # pixels
ACTIVE = 0.1  # variance of the normalised block from which on it counts
SEGMENT, EVEN = 6, 0.1  # pixels of an edge segment, and the standard deviation below which it is an artefact


def piqe(frame: np.ndarray, _inside: np.ndarray) -> float:
    """PIQE, 0 (good) to 100; 100 for a frame without an active block, NaN for a black frame.

    Args:
        frame: uint8 [h, w].
    """
    if not frame.any():
        return float("nan")
    pixels = np.round(255.0 * frame / frame.max())
    rows, columns = (-side % BLOCK for side in frame.shape)
    pixels = np.pad(pixels, ((0, rows), (0, columns)), mode="symmetric")
    blocks = _normalised(pixels).reshape(pixels.shape[0] // BLOCK, BLOCK, -1, BLOCK).swapaxes(1, 2)
    blocks = blocks.reshape(-1, BLOCK, BLOCK)
    variance = blocks.var(axis=(1, 2), ddof=1)
    active = blocks[variance > ACTIVE]
    variance = variance[variance > ACTIVE]
    artefact, noisy = _has_even_segment(active), _is_noisy(active, variance)
    total = float(np.sum(np.where(artefact, 1 - variance, 0.0) + np.where(noisy, variance, 0.0)))
    return 100.0 * (total + 1.0) / (len(active) + 1.0)


def _normalised(pixels: np.ndarray) -> np.ndarray:
    """Mean-subtracted, contrast-normalised pixels."""
    blurred: dict[str, Any] = {"ksize": (7, 7), "sigmaX": 7 / 6, "borderType": cv2.BORDER_REPLICATE}
    mean = cv2.GaussianBlur(pixels, **blurred)
    spread = np.sqrt(np.abs(cv2.GaussianBlur(pixels * pixels, **blurred) - mean * mean))
    normalised: np.ndarray = (pixels - mean) / (spread + 1.0)
    return normalised


def _has_even_segment(blocks: np.ndarray) -> np.ndarray:
    """Whether a segment of a block's edge has next to no contrast, bool [N]."""
    edges = np.stack([blocks[:, 0], blocks[:, -1], blocks[:, :, 0], blocks[:, :, -1]], axis=1)
    segments = np.lib.stride_tricks.sliding_window_view(edges, SEGMENT, axis=2)
    even: np.ndarray = (segments.std(axis=3, ddof=1) < EVEN).any(axis=(1, 2))
    return even


def _is_noisy(blocks: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Whether a block's contrast σ exceeds 2 |σ - r| / max(σ, r); r: contrast of its centre over that around."""
    middle = BLOCK // 2
    centre = blocks[:, :, middle - 1 : middle + 1].reshape(len(blocks), 2 * BLOCK)
    around = np.delete(blocks, (middle - 1, middle), axis=2).reshape(len(blocks), (BLOCK - 2) * BLOCK)
    inner, outer = centre.std(axis=1, ddof=1), around.std(axis=1, ddof=1)
    contrast, ratio = np.sqrt(variance), inner / np.where(outer > 0, outer, np.inf)
    # β of the paper; an active block has contrast, so that no division is by zero
    noisy: np.ndarray = contrast > 2 * np.abs(contrast - ratio) / np.maximum(contrast, ratio)
    return noisy
