"""The compact model: a convolutional encoder, a feature pyramid decoder, and a frame head.

Encoder: timm's EfficientNet-Lite (arXiv 1905.11946; Lite: no squeeze-and-excitation, no swish). Decoder: the
feature pyramid decoder of segmentation_models_pytorch (arXiv 1612.03144, 1901.02446), with group instead of batch
normalisation, so that it can be fine-tuned on few frames. Besides the outline, the model predicts for each frame

- whether it shows the plane,
- the expected Dice of its outline if it shows the plane (mask quality without a reference, as in FUSQA,
  arXiv 2303.04418),
- its distance to the training data: the Mahalanobis distance of encoder features (arXiv 1807.03888).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import nn

from fetaliqa.model.architecture import Architecture, BackboneConfig, PyramidConfig
from fetaliqa.model.encoder_model import SegmentationModel

# The encoder's feature map for out-of-distribution detection: stride 16. The deepest map holds little beyond what
# the outline needs: neck vessels were detected with an AUROC of 0.67 there and of 1.00 here.
REFERENCE_MAP = -2
STATISTICS = 4  # of the probabilities, see `_statistics`
PROMISED = 2  # index of the soft Dice of the probabilities
DROPOUT = 0.2  # of decoder channels and of the frame head, while training
EPS = 1e-6
LOGIT_EPS = 1e-3  # soft Dice are clipped to this distance from 0 and 1


class CompactOutputs(NamedTuple):
    """Outputs of the model for N frames.

    Attributes:
        outline: logits [N, 1, S, S] of the outline, given that the frame shows the plane.
        plane: logits [N] that the frame shows the plane.
        dice: logits [N] of the expected Dice of the outline, given that the frame shows the plane.
        embedding: [N, C], mean over the encoder's deepest map.
        maps: the encoder's feature maps, from the finest to the coarsest.
    """

    outline: torch.Tensor
    plane: torch.Tensor
    dice: torch.Tensor
    embedding: torch.Tensor
    maps: list[torch.Tensor]


class Reference(nn.Module):
    """Distribution of the training data in feature space, for out-of-distribution detection.

    The output is the Mahalanobis distance divided by ``limit``, the distance that few training frames exceed: 1
    and more is out of distribution. A limit of 0 means that nothing was fitted (``fit_reference``); distances are
    NaN.

    Args:
        channels: number C of ``reference_features``.
    """

    mean: torch.Tensor
    whitening: torch.Tensor
    limit: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("whitening", torch.zeros(channels, channels))
        self.register_buffer("limit", torch.zeros(1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Distances [N] of features [N, C], in units of the limit."""
        centred = (features.float() - self.mean) @ self.whitening.T
        return torch.where(self.limit > 0, centred.norm(dim=1) / self.limit.clamp(min=EPS), torch.nan)


class ExpectedDice(nn.Module):
    """Expected Dice of an outline: a calibration of the soft Dice of its probabilities.

    Only a scale and an offset of the logit are fitted: a larger network overfitted its training images (rank
    correlation 0.0 on held-out abdomens; 0.55 for the soft Dice alone).
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, soft_dice: torch.Tensor) -> torch.Tensor:
        """Logits [N] from soft Dice [N]."""
        return self.scale * torch.logit(soft_dice, eps=LOGIT_EPS) + self.offset


class CompactHead(nn.Module):
    """Decoder and frame head.

    Args:
        channels: of the encoder's maps at strides 2 to 32.
        config: sizes.
    """

    def __init__(self, channels: tuple[int, ...], config: PyramidConfig) -> None:
        super().__init__()
        # imported here: it loads timm, and reading a card does not need it
        from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder

        width = config.segmentation_channels
        self.pyramid = FPNDecoder(
            [3, *channels],
            pyramid_channels=config.pyramid_channels,
            segmentation_channels=width,
            dropout=DROPOUT,
        )
        self.outline = nn.Conv2d(width, 1, 3, padding=1)
        self.frame = nn.Sequential(
            nn.Linear(channels[-1] + width + STATISTICS, config.hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(DROPOUT),
            nn.Linear(config.hidden, 1),
        )
        self.dice = ExpectedDice()
        self.reference = Reference(channels[REFERENCE_MAP])

    def forward(self, maps: list[torch.Tensor], side: int) -> CompactOutputs:
        """Decode the encoder's maps into logits on a grid of ``side`` pixels."""
        decoded = self.pyramid(maps)
        coarse = self.outline(decoded)
        embedding = pooled(maps)
        # detached: the frame head does not influence the outline
        probabilities = torch.sigmoid(coarse.detach().float())
        inside = (decoded * probabilities).sum(dim=(2, 3)) / (probabilities.sum(dim=(2, 3)) + EPS)
        statistics = _statistics(probabilities)
        plane = self.frame(torch.cat([embedding, inside.to(embedding.dtype), statistics], dim=1))[:, 0]
        outline = functional.interpolate(coarse.float(), size=(side, side), mode="bilinear", align_corners=False)
        return CompactOutputs(outline, plane, self.dice(statistics[:, PROMISED]), embedding, maps)


def _statistics(probabilities: torch.Tensor) -> torch.Tensor:
    """[N, 4] of outline probabilities [N, 1, h, w]: area, confidence, soft Dice, maximum."""
    foreground = (probabilities > 0.5).float()
    area, total = foreground.mean(dim=(1, 2, 3)), probabilities.mean(dim=(1, 2, 3))
    inside = (probabilities * foreground).mean(dim=(1, 2, 3))
    confidence = inside / (area + EPS)
    soft_dice = 2 * inside / (total + area + EPS)
    return torch.stack([area, confidence, soft_dice, probabilities.amax(dim=(1, 2, 3))], dim=1)


class CompactSeg(SegmentationModel):
    """Convolutional encoder plus :class:`CompactHead`.

    Args:
        architecture: sizes; a backbone and a pyramid decoder.
        visual: the encoder, from ``build_encoder``.
    """

    task = "segmentation"
    head_name = "decoder"

    def __init__(self, architecture: Architecture, visual: nn.Module) -> None:
        super().__init__(architecture, visual)
        assert isinstance(architecture.vision, BackboneConfig)
        assert isinstance(architecture.decoder, PyramidConfig)
        head = CompactHead(architecture.vision.channels, architecture.decoder)
        self.decoder = head.to(memory_format=torch.channels_last)

    def outputs(self, images: torch.Tensor) -> CompactOutputs:
        """All outputs for images [N, 3, S, S], from ``normalise``."""
        images = self._checked(images).contiguous(memory_format=torch.channels_last)
        return self.decoder(self.visual(images), images.shape[-1])

    def reference_features(self, images: torch.Tensor) -> torch.Tensor:
        """Features for ``Reference``, [N, C], of images [N, 3, S, S] from ``normalise``."""
        return reference_features(self.visual(self._checked(images).contiguous(memory_format=torch.channels_last)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Outline.

        Args:
            images: float [N, 3, S, S], from ``normalise``.

        Returns:
            Logits, float [N, 1, S, S]: the smaller of the plane's and the outline's logit, since a pixel is inside
            only if the frame shows the plane and the outline contains it.
        """
        return combined(self.outputs(images))

    @property
    def outline_layer(self) -> nn.Conv2d:
        return self.decoder.outline

    def outline_and_maps(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        outputs = self.outputs(images)
        return combined(outputs), outputs.maps


def pooled(maps: list[torch.Tensor]) -> torch.Tensor:
    """Embeddings [N, C] from an encoder's maps: the mean over the deepest map."""
    return maps[-1].mean(dim=(2, 3))


def reference_features(maps: list[torch.Tensor]) -> torch.Tensor:
    """Features for ``Reference``, [N, C], from an encoder's maps."""
    return maps[REFERENCE_MAP].mean(dim=(2, 3))


def combined(outputs: CompactOutputs) -> torch.Tensor:
    """Logits [N, 1, S, S] of pixels: the smaller of the outline's and the frame's."""
    return torch.minimum(outputs.outline, outputs.plane.float()[:, None, None, None])
