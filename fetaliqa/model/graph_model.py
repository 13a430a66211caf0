"""A model as one computation from native 8-bit frames to its outputs, for export as an ONNX graph.

Padding and resampling to the square grid are part of it, as two matrix products: ONNX has no resampling that
rounds to 8 bits between its passes. The weights are those of ``fetaliqa.measure.array_resampling``, in operations
of the graph, so that it takes frames of any size; frames of the grid's own size pass through unchanged. It
computes in float32: a pixel half-way between two grey levels may be rounded to the other one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fetaliqa.measure.array_resampling import CUBIC, REACH, WEIGHT_BITS
from fetaliqa.model.bundle_card import BundleCard
from fetaliqa.model.compact_model import CompactSeg, combined, reference_features
from fetaliqa.model.encoder_model import EncoderModel, SegmentationModel
from fetaliqa.model.preprocess import CLIP_MEAN, CLIP_STD


class GraphModel(nn.Module):
    """Frames uint8 [N, H, W] to the outputs ``output_names``.

    Args:
        model: in eval mode.
        card: of its bundle; the threshold's share of foreground pixels defines the frame score.
    """

    image_mean: torch.Tensor
    image_std: torch.Tensor

    def __init__(self, model: EncoderModel, card: BundleCard) -> None:
        super().__init__()
        self.model = model
        self.size = card.architecture.vision.image_size
        self.pixels = card.threshold.min_foreground_pixels(self.size)
        self.register_buffer("image_mean", torch.tensor(CLIP_MEAN).view(1, 3, 1, 1))
        self.register_buffer("image_std", torch.tensor(CLIP_STD).view(1, 3, 1, 1))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order; docs/onnx.md describes them."""
        if isinstance(self.model, CompactSeg):
            return ("probabilities", "frame_score", "expected_dice", "distance")
        return ("probabilities", "frame_score") if isinstance(self.model, SegmentationModel) else ("frame_score",)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        images = (self.squares(frames)[:, None] / 255.0 - self.image_mean) / self.image_std
        if isinstance(self.model, CompactSeg):
            outputs = self.model.outputs(images)
            distance = self.model.decoder.reference(reference_features(outputs.maps))
            probabilities = torch.sigmoid(combined(outputs))[:, 0]
            return probabilities, self.frame_score(probabilities), torch.sigmoid(outputs.dice), distance
        answer = torch.sigmoid(self.model(images))
        if not isinstance(self.model, SegmentationModel):
            return (answer,)
        return answer[:, 0], self.frame_score(answer[:, 0])

    def frame_score(self, probabilities: torch.Tensor) -> torch.Tensor:
        """float [N]: above the frame threshold exactly when enough pixels are, so that the frame is positive."""
        return probabilities.flatten(1).topk(self.pixels, dim=1).values.amin(dim=1)

    def squares(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames uint8 [N, H, W] on the square grid: float [N, S, S] of whole grey levels."""
        height, width = frames.shape[1], frames.shape[2]
        side: Any = torch.sym_max(height, width)  # symbolic while the graph is traced
        narrow = grey_levels(frames.float() @ self._weights(side, width).T)
        return grey_levels(self._weights(side, height) @ narrow)

    def _weights(self, side: int, length: int) -> torch.Tensor:
        """Weights of ``length`` pixels, centred on a padded ``side``, in each of the grid's: float [S, length]."""
        kernels = self._kernels(torch.arange(side), side)
        totals = kernels.sum(dim=1, keepdim=True)
        limit = ((1 << WEIGHT_BITS) - 0.5) / (kernels / totals).amax(dim=(0, 1))
        unit = torch.exp2(limit.log2().ceil() - 1)
        weights = self._kernels(torch.arange(length) + (side - length) // 2, side) / totals * unit
        return (weights.abs() + 0.5).floor() * weights.sign() / unit

    def _kernels(self, pixels: torch.Tensor, side: int) -> torch.Tensor:
        """float [S, P]: the kernel of each grid pixel at native pixels [P]."""
        # in units of half a pixel of the coarser grid's size: whole numbers, which float32 keeps
        apart = (2 * pixels[None] + 1) * self.size - (2 * torch.arange(self.size)[:, None] + 1) * side
        larger: Any = torch.sym_max(side, self.size)
        away = apart.abs().float() / (2 * larger)
        near = ((CUBIC + 2) * away - (CUBIC + 3)) * away * away + 1
        far = ((CUBIC * away - 5 * CUBIC) * away + 8 * CUBIC) * away - 4 * CUBIC
        return torch.where(away < 1, near, torch.where(away < REACH, far, torch.zeros_like(away)))


def grey_levels(values: torch.Tensor) -> torch.Tensor:
    """Rounded to whole numbers, halves up, and limited to 8 bits."""
    return (values + 0.5).floor().clamp(0, 255)
