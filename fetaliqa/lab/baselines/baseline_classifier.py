"""The baseline classifier: a timm backbone and a linear unit; linear probe, LoRA or full fine-tuning."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fetaliqa.lab.baselines.baseline_adapters import add_adapters
from fetaliqa.lab.baselines.baseline_images import ImageSpec
from fetaliqa.lab.baselines.baseline_networks import Baseline, Strategy


class BaselineClassifier(nn.Module):
    """Backbone plus ``Linear(features, 1)``; made by ``build_baseline``.

    With strategies ``linear`` and ``lora`` the backbone is frozen, batch-norm statistics included:
    ``train()`` leaves the whole backbone (``linear``) or its batch norms (``lora``) in eval mode.

    Attributes:
        baseline: its description.
        strategy: what training changes.
        reduced: whether this is the small stand-in with random weights.
        spec: input size, statistics and resampling.
        backbone: timm model without a classifier.
        classifier: the linear unit.
    """

    task = "classification"

    def __init__(
        self,
        baseline: Baseline,
        backbone: nn.Module,
        spec: ImageSpec,
        strategy: Strategy,
        *,
        as_released: bool = False,
        reduced: bool = False,
    ) -> None:
        super().__init__()
        self.baseline = baseline
        self.strategy = strategy
        self.reduced = reduced
        self.spec = spec
        self.backbone = backbone
        # VGG's num_features is that of its convolutions; its penultimate layer is wider
        width = getattr(backbone, "head_hidden_size", None) or backbone.num_features
        self.classifier = nn.Linear(int(width), 1)  # type: ignore[arg-type]
        if strategy == "linear":
            backbone.requires_grad_(False)
        elif strategy == "lora":
            add_adapters(backbone, baseline, as_released)
        self.train(self.training)

    def train(self, mode: bool = True) -> BaselineClassifier:
        super().train(mode)
        if self.strategy == "linear":
            self.backbone.eval()
        elif self.strategy == "lora":
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def normalise(self, frames: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Input of ``forward``, float [N, 3, s, s], of frames uint8 [N, S, S]; see ``ImageSpec.normalise``."""
        return self.spec.normalise(frames)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Input of the linear unit: float [N, features] of images [N, 3, s, s].

        Raises:
            ValueError: when the images have another shape.
        """
        side = self.spec.size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side):
            raise ValueError(f"images of shape {tuple(images.shape)}; [N, 3, {side}, {side}] is needed")
        return self.backbone(images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Grade frames.

        Args:
            images: float [N, 3, s, s], from ``normalise``.

        Returns:
            Logits, float [N].
        """
        return self.classifier(self.features(images))[:, 0]
