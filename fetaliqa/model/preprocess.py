"""Preprocessing of square 8-bit frames: three grey channels, then CLIP normalisation as in FetalCLIP's transform.

Padding and resampling to the square grid come before: ``fetaliqa.measure.square_grid.SquareGrid.to_square``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

# OpenAI CLIP's channel statistics (fractions of full scale, RGB), open_clip.constants.OPENAI_DATASET_MEAN/STD
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing that a bundle's model expects. Only these values are implemented."""

    pad: Literal["centred-zero-square"] = "centred-zero-square"
    interpolation: Literal["bicubic-antialias"] = "bicubic-antialias"
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        if self.mean != CLIP_MEAN or self.std != CLIP_STD:
            raise ValueError(f"mean {list(self.mean)} and std {list(self.std)} are not supported; only CLIP's are")


def normalise(frames: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Normalise square 8-bit frames for the encoder.

    Args:
        frames: uint8 [N, S, S], tensor or array.

    Returns:
        float32 [N, 3, S, S] on the same device: ``(frame / 255 - mean) / std`` per channel.

    Raises:
        ValueError: when the frames are not uint8 of three dimensions.
    """
    import torch

    stack = torch.from_numpy(np.ascontiguousarray(frames)) if isinstance(frames, np.ndarray) else frames
    if stack.dtype != torch.uint8 or stack.ndim != 3:
        raise ValueError(f"frames are {stack.dtype} {tuple(stack.shape)}; uint8 [N, S, S] is needed")
    mean, std = _statistics(stack.device)
    fractions = stack[:, None].float() / 255.0
    return (fractions - mean) / std


@lru_cache(maxsize=16)
def _statistics(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """CLIP's mean and standard deviation as [1, 3, 1, 1], cached per device to avoid repeated copies."""
    import torch

    with torch.inference_mode(False):  # the cached tensors are used in training too
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return mean, std


def model_inputs(model: nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """Normalise uint8 frames [N, S, S] with the model's own ``normalise``, if any, else :func:`normalise`."""
    return getattr(model, "normalise", normalise)(frames)
