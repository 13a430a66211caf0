"""FetalCLIP_CLS: the encoder's pooled output and one linear unit."""

from __future__ import annotations

import torch
from torch import nn

from fetaliqa.model.architecture import Architecture
from fetaliqa.model.encoder_model import EncoderModel


class FetalCLIPCls(EncoderModel):
    """Image encoder plus ``Linear(embed_dim, 1)``.

    The pooled, projected output is used as it is, without the L2 normalisation of zero-shot CLIP (FetalCLIP-IQA).
    """

    task = "classification"
    head_name = "classifier"

    def __init__(self, architecture: Architecture, visual: nn.Module) -> None:
        super().__init__(architecture, visual)
        self.classifier = nn.Linear(architecture.vision.embed_dim, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Grade frames.

        Args:
            images: float [N, 3, S, S], from ``normalise``.

        Returns:
            Logits, float [N].
        """
        return self.classifier(self.visual(self._checked(images)))[:, 0]
