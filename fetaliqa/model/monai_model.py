"""A segmentation network of MONAI as a model: preprocessing of its own, and logits of one outline."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import nn

from fetaliqa.errors import WeightsError
from fetaliqa.model.architecture import Architecture
from fetaliqa.model.encoder_model import SegmentationModel
from fetaliqa.model.network_config import ForegroundConfig, IntensityStep, NetworkConfig
from fetaliqa.model.preprocess import CLIP_MEAN, CLIP_STD

THUMBNAIL = 8  # pixels; frame and outline at this size stand for a frame's appearance
FULL_SCALE = 255.0


class MonaiSeg(SegmentationModel):
    """A network of MONAI as a segmentation model; it has no head, no expected Dice and no distance.

    Args:
        architecture: with a ``NetworkConfig`` and a ``ForegroundConfig``.
        visual: the network, from ``build_network``.
    """

    task = "segmentation"
    head_name = "decoder"
    keeps_batch_norms = True  # the order of MONAI's layers is not that of their names

    def __init__(self, architecture: Architecture, visual: nn.Module) -> None:
        super().__init__(architecture, visual)
        assert isinstance(architecture.vision, NetworkConfig)
        assert isinstance(architecture.decoder, ForegroundConfig)
        self.config, self.foreground = architecture.vision, architecture.decoder
        self.decoder = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, float [N, 1, S, S], of images [N, 3, S, S], from ``normalise``."""
        return self.outline_and_maps(images)[0]

    def outline_and_maps(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        grey = grey_levels(self._checked(images))
        logits = self.logits(grey)
        thumbnails = functional.adaptive_avg_pool2d(
            torch.cat([grey / FULL_SCALE, torch.sigmoid(logits)], dim=1), THUMBNAIL
        )
        return logits, [thumbnails.flatten(1)[:, :, None, None]]

    def logits(self, grey: torch.Tensor) -> torch.Tensor:
        """Logits [N, 1, S, S] of grey levels 0 to 255, float [N, 1, S, S]."""
        for step in self.config.intensity:
            grey = changed_intensity(grey, step)
        if self.config.transposed:
            grey = grey.transpose(2, 3)
        output = self.visual(grey.expand(-1, self.config.channels, -1, -1).contiguous())
        expected = (len(grey), self.foreground.outputs, *grey.shape[2:])
        if not isinstance(output, torch.Tensor) or tuple(output.shape) != expected:
            found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise WeightsError(f"{self.config.network}: output {found}; a tensor of shape {expected} is needed")
        logits = output[:, -1:].float()
        if self.foreground.activation == "softmax":
            logits = logits - output[:, :1].float()  # of two classes
        return logits.transpose(2, 3) if self.config.transposed else logits


def grey_levels(images: torch.Tensor) -> torch.Tensor:
    """Grey levels 0 to 255, float [N, 1, S, S], of images from ``normalise``: its inverse."""
    return ((images[:, :1].float() * CLIP_STD[0] + CLIP_MEAN[0]) * FULL_SCALE).round()


def changed_intensity(grey: torch.Tensor, step: IntensityStep) -> torch.Tensor:
    """One step of the preprocessing, of float [N, 1, S, S]; each frame by itself."""
    if step.kind == "zscore":
        counted = (grey != 0).float() if step.option else torch.ones_like(grey)
        number = counted.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
        mean = (grey * counted).sum(dim=(1, 2, 3), keepdim=True) / number
        spread = (((grey - mean) ** 2 * counted).sum(dim=(1, 2, 3), keepdim=True) / number).sqrt()
        changed = (grey - mean) / torch.where(spread == 0, 1.0, spread)
        return torch.where(counted != 0, changed, grey)
    low: torch.Tensor | float = step.low
    high: torch.Tensor | float = step.high
    if step.kind == "minmax":
        low, high = grey.amin(dim=(1, 2, 3), keepdim=True), grey.amax(dim=(1, 2, 3), keepdim=True)
        flat = low == high
        scaled = (grey - low) / torch.where(flat, 1.0, high - low) * (step.to_high - step.to_low) + step.to_low
        return torch.where(flat, grey * step.to_low, scaled)  # as MONAI does
    scaled = (grey - low) / (high - low) * (step.to_high - step.to_low) + step.to_low
    return scaled.clamp(step.to_low, step.to_high) if step.option else scaled
