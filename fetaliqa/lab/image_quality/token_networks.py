"""Two small networks of image quality with attention, after TRIQ and MANIQA.

- ``QualityTokenNetwork``, after TRIQ (You & Korhonen, "Transformer for image quality assessment", ICIP 2021): the
  last feature map of a convolutional network as tokens of 32 numbers, a quality token and positions added, a
  shallow transformer encoder (2 layers, 8 heads), and a score from the quality token.
- ``WeightedPatchNetwork``, after MANIQA (Yang et al., CVPR Workshops 2022): features of several depths, attention
  between channels (transposed attention), attention between positions, and the mean of the positions' scores
  weighted by a second branch.

Both see frames through EfficientNet-Lite0 with its ImageNet weights, where TRIQ has ResNet-50 and MANIQA a
ViT-B/8; and MANIQA's Swin layers are one plain transformer layer here. So they are like those networks, and are
not those networks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from fetaliqa.lab.image_quality.frame_sample import INPUT_COLUMNS, INPUT_ROWS, FrameSample, fitted
from fetaliqa.model.architecture import BackboneConfig
from fetaliqa.model.backbone import IMAGENET_BACKBONE, build_backbone, imagenet_state
from fetaliqa.model.preprocess import normalise

TRIQ_WIDTH, TRIQ_LAYERS, TRIQ_HEADS, TRIQ_HIDDEN = 32, 2, 8, 64  # the paper's
MANIQA_WIDTH, MANIQA_HEADS = 64, 4
ENCODER = BackboneConfig(INPUT_ROWS, IMAGENET_BACKBONE)
STRIDES = (2, 4, 8, 16, 32)  # of the encoder's five feature maps


def pretrained_encoder() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights; maps images to five feature maps.

    Raises:
        WeightsError: when the package with the weights is not installed.
    """
    return build_backbone(ENCODER, state=imagenet_state(ENCODER))


class QualityTokenNetwork(nn.Module):
    """Scores frames uint8 [N, 160, 224] -> [N]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = nn.Conv2d(ENCODER.channels[-1], TRIQ_WIDTH, 1)
        tokens = (INPUT_ROWS // STRIDES[-1]) * (INPUT_COLUMNS // STRIDES[-1])
        self.quality = nn.Parameter(torch.zeros(1, 1, TRIQ_WIDTH))
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens + 1, TRIQ_WIDTH))
        layer = nn.TransformerEncoderLayer(TRIQ_WIDTH, TRIQ_HEADS, TRIQ_HIDDEN, batch_first=True)
        self.attention = nn.TransformerEncoder(layer, TRIQ_LAYERS, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(TRIQ_WIDTH, TRIQ_HIDDEN), nn.GELU(), nn.Linear(TRIQ_HIDDEN, 1))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        tokens = self.project(self.encoder(normalise(frames))[-1]).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.quality.expand(len(tokens), -1, -1), tokens], dim=1) + self.positions
        scores: torch.Tensor = self.head(self.attention(tokens)[:, 0])[:, 0]
        return scores


class TransposedAttention(nn.Module):
    """Attention between the channels of tokens [N, T, C], with a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.normal = nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = self.inputs(self.normal(tokens)).chunk(3, dim=2)
        weights = (query.transpose(1, 2) @ key / tokens.shape[1] ** 0.5).softmax(dim=2)  # [N, C, C]
        mixed: torch.Tensor = tokens + self.output((weights @ value.transpose(1, 2)).transpose(1, 2))
        return mixed


class WeightedPatchNetwork(nn.Module):
    """Scores frames uint8 [N, 160, 224] -> [N]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = nn.Conv2d(sum(ENCODER.channels[2:]), MANIQA_WIDTH, 1)
        self.attention = nn.Sequential(
            TransposedAttention(MANIQA_WIDTH),
            nn.TransformerEncoderLayer(MANIQA_WIDTH, MANIQA_HEADS, 2 * MANIQA_WIDTH, batch_first=True),
            TransposedAttention(MANIQA_WIDTH),
        )
        self.score, self.weight = _branch(MANIQA_WIDTH), _branch(MANIQA_WIDTH)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        maps = self.encoder(normalise(frames))[2:]
        size = maps[1].shape[2:]
        joined = torch.cat([interpolate(one, size, mode="bilinear", align_corners=False) for one in maps], dim=1)
        tokens = self.attention(self.project(joined).flatten(2).transpose(1, 2))
        weights = self.weight(tokens).sigmoid()
        scores: torch.Tensor = ((self.score(tokens) * weights).sum(1) / weights.sum(1).clamp_min(1e-6))[:, 0]
        return scores


def _branch(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 1))


class FrameBatches:
    """Iterates without end over batches of frames uint8 [size, 160, 224] and targets float [size].

    Half of the frames are mirrored; brightness (gamma) varies.
    """

    def __init__(self, sample: FrameSample, size: int, seed: int) -> None:
        self.frames = np.stack([fitted(frame) for frame in sample.frames])
        self.targets, self.size = sample.targets, size
        self._random = np.random.default_rng(seed)

    def __iter__(self) -> FrameBatches:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = self._random.integers(0, len(self.frames), self.size)
        frames = np.stack([varied(self.frames[number], self._random) for number in chosen])
        return torch.from_numpy(frames), torch.from_numpy(self.targets[chosen])


def varied(frame: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A frame uint8 [h, w] mirrored or not, of a gamma between 0.7 and 1.4."""
    if random.random() < 0.5:
        frame = frame[:, ::-1]
    return with_gamma(frame, float(np.exp(random.uniform(np.log(0.7), np.log(1.4)))))


def with_gamma(frame: np.ndarray, gamma: float) -> np.ndarray:
    """Grey levels 255 (g / 255) ** gamma; black stays black."""
    table = np.round(255.0 * (np.arange(256) / 255.0) ** gamma).astype(np.uint8)
    return np.ascontiguousarray(table[frame])


@torch.inference_mode()
def frame_score(network: nn.Module, frame: np.ndarray, _inside: np.ndarray) -> float:
    """The network's score of a frame uint8 [h, w]."""
    return float(network(torch.from_numpy(fitted(frame))[None])[0])
