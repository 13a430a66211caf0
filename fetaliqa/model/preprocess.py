"""From 8-bit square frames to the encoder's input.

Padding and resampling to the square grid are ``fetaliqa.measure.square_grid.SquareGrid.to_square``; this is the
last step: grey replicated to three channels, then OpenAI-CLIP normalisation as in FetalCLIP's reference transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import nn

# OpenAI CLIP's channel statistics (fractions of full scale, RGB), open_clip.constants.OPENAI_DATASET_MEAN/STD
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """What a bundle's model expects to have been done to a frame. Only this one way is implemented."""

    pad: Literal["centred-zero-square"] = "centred-zero-square"
    interpolation: Literal["bicubic-antialias"] = "bicubic-antialias"
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        if self.mean != CLIP_MEAN or self.std != CLIP_STD:
            raise ValueError(
                f"mean {list(self.mean)} and std {list(self.std)} are not CLIP's, all that this version applies"
            )


def normalise(frames: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Normalise square 8-bit frames for the encoder.

    Args:
        frames: uint8 [N, S, S], tensor or array.

    Returns:
        float32 [N, 3, S, S] on the same device: ``(frame / 255 - mean) / std`` per channel.

    Raises:
        ValueError: when the frames are not uint8 of three dimensions.
    """
    stack = torch.from_numpy(np.ascontiguousarray(frames)) if isinstance(frames, np.ndarray) else frames
    if stack.dtype != torch.uint8 or stack.ndim != 3:
        raise ValueError(f"frames are {stack.dtype} {tuple(stack.shape)}; uint8 [N, S, S] is needed")
    mean, std = _statistics(stack.device)
    fractions = stack[:, None].float() / 255.0
    return (fractions - mean) / std


@lru_cache(maxsize=16)
def _statistics(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """CLIP's mean and spread as [1, 3, 1, 1], kept on each device: sending them there makes it wait."""
    with torch.inference_mode(False):  # of use in training too, whoever asks first
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return mean, std


def model_inputs(model: nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """uint8 frames [N, S, S] as a model takes them: by its own ``normalise`` where it has one, else as above."""
    own = getattr(model, "normalise", None)
    return own(frames) if own is not None else normalise(frames)
