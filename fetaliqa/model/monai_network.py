"""Segmentation networks of MONAI (``monai.networks.nets``) as parts of a bundle.

MONAI takes seconds to import and is imported when such a network is built. Only the classes in ``NETWORKS`` are,
from plain values; their tensors are read as those of every bundle, by name, shape and type.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from fetaliqa.errors import WeightsError
from fetaliqa.extras import require_extra
from fetaliqa.model.image_encoder import check_state
from fetaliqa.model.network_config import NetworkConfig

MOST_PARAMETERS = 500_000_000


def network_arguments(config: NetworkConfig) -> dict[str, Any]:
    """The arguments of the network's class, with its defaults.

    Raises:
        WeightsError: when the class has no such parameter, or needs another one.
    """
    try:
        bound = inspect.signature(_network_class(config.network)).bind(**config.parameters)
    except TypeError as problem:
        raise WeightsError(f"{config.network}: {problem}") from None
    bound.apply_defaults()
    return bound.arguments


def _network_class(name: str) -> Any:
    require_extra("server", "a network of MONAI", {"monai": "monai"})
    from monai.networks import nets

    return getattr(nets, name)


def _built(config: NetworkConfig) -> nn.Module:
    try:
        return _network_class(config.network)(**config.parameters)
    except (TypeError, ValueError, RuntimeError, AssertionError, LookupError, AttributeError) as problem:
        text = " ".join(str(problem).split())[:200]
        raise WeightsError(f"{config.network} cannot be built with these parameters ({text})") from None


def network_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the network, except whole numbers, which it makes itself.

    Raises:
        WeightsError: when it cannot be built, or has more than 500 million values.
    """
    # SwinUNETR reads numbers while it is built; its size is bounded by NetworkConfig
    with torch.device("cpu" if config.network == "SwinUNETR" else "meta"):
        state = _built(config).state_dict()
    if sum(tensor.numel() for tensor in state.values()) > MOST_PARAMETERS:
        raise WeightsError(f"{config.network} has more than {MOST_PARAMETERS:,} parameters with these parameters")
    return {name: tuple(tensor.shape) for name, tensor in state.items() if tensor.is_floating_point()}


def build_network(
    config: NetworkConfig, *, state: Mapping[str, torch.Tensor] | None = None, random_init: bool = False
) -> nn.Module:
    """The network with given or random weights.

    Raises:
        WeightsError: when neither or both of ``state`` and ``random_init`` are given, it cannot be built, or a
            tensor is wrong.
    """
    if (state is None) != random_init:
        raise WeightsError("give the network's weights, or ask for random ones, not both")
    shapes = network_shapes(config)
    if state is not None:
        check_state(state, shapes, config.network)
    network = _built(config)
    if state is not None:
        network.load_state_dict(dict(state), strict=False)
    return network


def network_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """The network's tensors, without whole numbers."""
    return {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
