"""Preprocessing of 8-bit square frames for a baseline: size, interpolation and channel statistics.

timm's evaluation transform enlarges a picture by ``1 / crop_pct`` and cuts the centre out. Frames here are square
already (a whole fan padded with zeros), so that crop would remove 5-6 % of each side for some networks and nothing
for others. It is applied only with ``crop``, as in the released code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

INTERPOLATIONS = ("bicubic", "bilinear")


@dataclass(frozen=True)
class ImageSpec:
    """What a network expects of its input.

    Attributes:
        size: side of the square input, pixels.
        mean, std: channel statistics (RGB, fractions of full scale).
        interpolation: how frames of another size are resampled (always with antialiasing).
        crop_pct: share of a side that timm's evaluation transform keeps.
        crop: whether that crop is applied.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop_pct: float
    crop: bool = False

    @classmethod
    def of_timm(cls, config: dict[str, Any], size: int | None, crop: bool) -> ImageSpec:
        """From ``timm.data.resolve_model_data_config``; ``size`` replaces the pretrained input size."""
        interpolation = config["interpolation"]
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation is {interpolation!r}; {' or '.join(INTERPOLATIONS)} is implemented")
        side = size or int(config["input_size"][-1])
        mean, std = (tuple(float(value) for value in config[name]) for name in ("mean", "std"))
        return cls(side, mean, std, interpolation, float(config["crop_pct"]), crop)  # type: ignore[arg-type]

    def normalise(self, frames: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Resample and normalise square 8-bit frames.

        Args:
            frames: uint8 [N, S, S], tensor or array.

        Returns:
            float32 [N, 3, size, size] on the same device: ``(value / 255 - mean) / std`` per channel.

        Raises:
            ValueError: when the frames are not uint8, not of three dimensions, or not square.
        """
        stack = torch.from_numpy(np.ascontiguousarray(frames)) if isinstance(frames, np.ndarray) else frames
        if stack.dtype != torch.uint8 or stack.ndim != 3 or stack.shape[1] != stack.shape[2]:
            raise ValueError(f"frames are {stack.dtype} {tuple(stack.shape)}; uint8 [N, S, S] is needed")
        stack = self._resized(stack)
        mean = torch.tensor(self.mean, device=stack.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=stack.device).view(1, 3, 1, 1)
        return (stack[:, None].float() / 255.0 - mean) / std

    def _resized(self, stack: torch.Tensor) -> torch.Tensor:
        whole = math.floor(self.size / self.crop_pct) if self.crop else self.size
        if stack.shape[-1] != whole and len(stack):
            stack = _resampled(stack[:, None], whole, self.interpolation)[:, 0]
        margin = round((whole - self.size) / 2)
        return stack[:, margin : margin + self.size, margin : margin + self.size]


def _resampled(stack: torch.Tensor, side: int, mode: str) -> torch.Tensor:
    """Antialiased resize of uint8 [N, 1, S, S] that rounds to 8 bits between the two passes, as Pillow does."""
    if stack.device.type == "cpu":
        return interpolate(stack, size=(side, side), mode=mode, antialias=True, align_corners=False)
    for shape in ((stack.shape[-2], side), (side, side)):  # no 8-bit kernel there
        values = interpolate(stack.float(), size=shape, mode=mode, antialias=True, align_corners=False)
        stack = values.round_().clamp_(0, 255).to(torch.uint8)
    return stack
