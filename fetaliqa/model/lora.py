"""Low-rank adapters (LoRA, arXiv 2106.09685) on the image encoder.

Adapters are injected by peft into the linear layers of open_clip's custom block (see ``image_encoder``). For
inference they are merged into the weights, ``W + (alpha / rank) * B @ A``, without peft.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from fetaliqa.errors import WeightsError
from fetaliqa.model.architecture import VisionConfig
from fetaliqa.model.image_encoder import check_state, tower_shapes
from fetaliqa.model.lora_settings import LoraSettings

ADAPTER_NAME = "default"  # peft's name of the only adapter; omitted in tensor names on disk


def adapted_linears(vision: VisionConfig, lora: LoraSettings) -> dict[str, tuple[int, int]]:
    """Names of the adapted linear layers in the encoder, with their (outputs, inputs)."""
    linears: dict[str, tuple[int, int]] = {}
    for name, shape in tower_shapes(vision).items():
        module = name.removesuffix(".weight")
        if module != name and module.rsplit(".", 1)[-1] in lora.targets:
            linears[module] = (shape[0], shape[1])
    return linears


def adapter_shapes(vision: VisionConfig, lora: LoraSettings) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of an adapter file."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (outputs, inputs) in adapted_linears(vision, lora).items():
        shapes[f"{name}.lora_A.weight"] = (lora.rank, inputs)
        shapes[f"{name}.lora_B.weight"] = (outputs, lora.rank)
    return shapes


def inject(tower: nn.Module, lora: LoraSettings) -> None:
    """Freeze the encoder and inject new adapters (initially without effect), in place.

    Raises:
        WeightsError: when the encoder has adapters already.
    """
    # imported here: peft takes seconds to import, and inference does not need it
    from peft import LoraConfig, inject_adapter_in_model

    if has_adapters(tower):
        raise WeightsError("the image encoder has adapters already; merge them before adding new ones")
    tower.requires_grad_(False)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=list(lora.targets),
    )
    inject_adapter_in_model(config, tower, adapter_name=ADAPTER_NAME)


def has_adapters(tower: nn.Module) -> bool:
    """Whether the encoder has adapters that are not merged."""
    return any(".lora_A." in name for name, _ in tower.named_parameters())


def adapter_state(tower: nn.Module) -> dict[str, torch.Tensor]:
    """The adapter's tensors, named as on disk, detached."""
    marker = f".{ADAPTER_NAME}."
    return {
        name.replace(marker, "."): parameter.detach()
        for name, parameter in tower.named_parameters()
        if ".lora_" in name
    }


def base_state(tower: nn.Module) -> dict[str, torch.Tensor]:
    """The encoder's own tensors without adapters, in open_clip's naming, detached."""
    return {
        name.replace(".base_layer.", "."): tensor.detach()
        for name, tensor in tower.state_dict().items()
        if ".lora_" not in name
    }


def load_adapter(
    tower: nn.Module, vision: VisionConfig, lora: LoraSettings, state: Mapping[str, torch.Tensor], what: str
) -> None:
    """Copy adapter tensors into an encoder whose adapters were injected with the same settings.

    Raises:
        WeightsError: naming the first tensor that is missing, extra or of the wrong shape.
    """
    check_state(state, adapter_shapes(vision, lora), what)
    parameters = {
        name.replace(f".{ADAPTER_NAME}.", "."): parameter
        for name, parameter in tower.named_parameters()
        if ".lora_" in name
    }
    if set(parameters) != set(state):
        raise WeightsError(
            f"{what}: {len(state)} adapter tensors, but the encoder has {len(parameters)}; settings differ"
        )
    with torch.no_grad():
        for name, tensor in state.items():
            parameters[name].copy_(tensor)


def merged_state(
    base: Mapping[str, torch.Tensor],
    vision: VisionConfig,
    lora: LoraSettings,
    adapter: Mapping[str, torch.Tensor],
    what: str = "adapter",
) -> dict[str, torch.Tensor]:
    """The encoder's tensors with merged adapters; ``base`` is not changed.

    Raises:
        WeightsError: naming the first adapter tensor that is missing, extra or of the wrong shape.
    """
    check_state(adapter, adapter_shapes(vision, lora), what)
    merged = dict(base)
    for name in adapted_linears(vision, lora):
        down, up = adapter[f"{name}.lora_A.weight"], adapter[f"{name}.lora_B.weight"]
        merged[f"{name}.weight"] = torch.addmm(base[f"{name}.weight"], up, down, alpha=lora.scale)
    return merged
