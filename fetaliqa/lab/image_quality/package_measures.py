"""Image quality measures from packages, imported on demand."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import torch


def total_variation(frame: np.ndarray, _inside: np.ndarray) -> float:
    """Total variation (l2) per pixel, of intensities from 0 to 1."""
    import piq

    return float(piq.total_variation(_batch(frame), norm_type="l2")) / frame.size


def blur(frame: np.ndarray, _inside: np.ndarray) -> float:
    """Perceptual blur, 0 (sharp) to 1."""
    from skimage.measure import blur_effect

    return float(blur_effect(frame))


def brisque(frame: np.ndarray, _inside: np.ndarray) -> float:
    """BRISQUE, about 0 (good) to 100 and more; NaN where its statistics cannot be fitted (a blank frame).

    A frame unlike any the model was trained on gets its constant term, 155.8.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # fits that do not converge give NaN
        return float(_brisque_model().score(np.repeat(frame[..., None], 3, axis=2)))


def ssim(frame: np.ndarray, neighbour: np.ndarray) -> float:
    """Structural similarity of two frames, up to 1 (equal)."""
    import piq

    return float(piq.ssim(_batch(frame), _batch(neighbour), data_range=1.0))


def vif(frame: np.ndarray, neighbour: np.ndarray) -> float:
    """Visual information fidelity in the pixel domain: of what the neighbour shows, how much the frame shows."""
    import piq

    return float(piq.vif_p(_batch(frame), _batch(neighbour), data_range=1.0))


@cache
def _brisque_model() -> Any:
    from brisque import BRISQUE

    return BRISQUE(url=False)


def _batch(frame: np.ndarray) -> torch.Tensor:
    """A frame [h, w] as piq takes it: float [1, 1, h, w] from 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(frame))[None, None].float() / 255.0
