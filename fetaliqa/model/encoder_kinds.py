"""Image encoders of all kinds (transformer or convolutional), built by their configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from fetaliqa.model import lora
from fetaliqa.model.architecture import BackboneConfig, EncoderConfig
from fetaliqa.model.backbone import backbone_shapes, backbone_state, build_backbone
from fetaliqa.model.image_encoder import build_tower, tower_shapes
from fetaliqa.model.monai_network import build_network, network_shapes, network_state
from fetaliqa.model.network_config import NetworkConfig


def build_encoder(
    vision: EncoderConfig, *, state: Mapping[str, torch.Tensor] | None = None, random_init: bool = False
) -> nn.Module:
    """The encoder with given or random weights; see ``build_tower``.

    Raises:
        WeightsError: when neither or both of ``state`` and ``random_init`` are given, or a tensor is wrong.
    """
    if isinstance(vision, BackboneConfig):
        return build_backbone(vision, state=state, random_init=random_init)
    if isinstance(vision, NetworkConfig):
        return build_network(vision, state=state, random_init=random_init)
    return build_tower(vision, state=state, random_init=random_init)


def encoder_shapes(vision: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the encoder."""
    if isinstance(vision, NetworkConfig):
        return network_shapes(vision)
    return backbone_shapes(vision) if isinstance(vision, BackboneConfig) else tower_shapes(vision)


def encoder_parameters(vision: EncoderConfig) -> int:
    """Number of parameters of the encoder."""
    return sum(math.prod(shape) for shape in encoder_shapes(vision).values())


def encoder_state(vision: EncoderConfig, encoder: nn.Module) -> dict[str, torch.Tensor]:
    """The encoder's own tensors, without those of adapters."""
    if isinstance(vision, NetworkConfig):
        return network_state(encoder)
    return backbone_state(encoder) if isinstance(vision, BackboneConfig) else lora.base_state(encoder)
