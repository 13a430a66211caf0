"""Counts of trainable parameters of the paper's eight models: ours, the paper's, and the released code's.

A count here is **effective**: the scalars that get a gradient in one backward pass. A layer can be marked as
trainable and still get no gradient, as two parts of the released code. Everything is counted on torch's meta
device, so that models of 300 million parameters take no memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fetaliqa.lab.baselines import BASELINES, build_baseline
from fetaliqa.model.architecture import Architecture, load_architecture
from fetaliqa.model.classification_model import FetalCLIPCls
from fetaliqa.model.encoder_model import EncoderModel, trainable_count
from fetaliqa.model.image_encoder import empty_tower
from fetaliqa.model.lora_settings import TARGETS, LoraSettings
from fetaliqa.model.segmentation_model import FetalCLIPSeg

COUNT_BATCH = 2  # images; batch norm in training needs more than one value per channel
FETALCLIP = (("fetalclip_cls", "FetalCLIP_CLS", "2.4"), ("fetalclip_seg", "FetalCLIP_SEG", "4.0"))
PATCH_EMBEDDING = (
    "the released adapter targets also match the patch embedding's convolution, ours are the blocks' alone"
)
RELEASED_CLS = (
    "the released code marks as many as trainable, but its adapters on out_proj are never called by torch's "
    "attention and get no gradient"
)
RELEASED_SEG = (
    "the released code marks as many as trainable, but runs the encoder without gradients, "
    "so that its decoder alone learns"
)


def parameter_counts(as_released: bool = False) -> list[dict[str, Any]]:
    """Count the trainable parameters of the paper's eight models, in the paper's order.

    Args:
        as_released: count our models with the released code's adapter targets.

    Returns:
        One row per model: ``key``, ``label``, ``timm_id`` (None for FetalCLIP), ``strategy``, ``ours``
        (effective), ``paper`` (millions, as printed), ``agrees`` (ours rounds to the paper's figure),
        ``released_marked`` and ``released`` (what the released code marks as trainable, and what of it gets a
        gradient), ``reason`` (why ours and the released figures differ; empty where they do not).
    """
    rows = []
    for baseline in BASELINES.values():
        if baseline.paper_millions is None:
            continue
        released = _baseline_counts(baseline.key, True)
        # only adapters are placed differently
        same = as_released or baseline.strategy != "lora"
        ours = released[1] if same else _baseline_counts(baseline.key, False)[1]
        named = baseline.key, baseline.label, baseline.timm_id, baseline.strategy, baseline.paper_millions
        rows.append(_row(*named, ours, *released))
    return rows + [_fetalclip_row(*named) for named in FETALCLIP]


def learning_count(model: nn.Module, images: torch.Tensor) -> int:
    """Scalars of the parameters that get a gradient when the sum of the output is differentiated.

    Args:
        model: on the device of ``images``, the meta device included; its gradients are cleared.
        images: float [N, 3, S, S].
    """
    model.zero_grad(set_to_none=True)
    model(images).sum().backward()
    return _with_gradient(model)


def _baseline_counts(key: str, as_released: bool) -> tuple[int, int]:
    """What of a baseline is marked as trainable, and what of that learns."""
    with torch.device("meta"):
        model = build_baseline(key, pretrained=False, as_released=as_released)
        images = torch.empty(COUNT_BATCH, 3, model.spec.size, model.spec.size)
    return trainable_count(model), learning_count(model, images)


def _fetalclip_row(key: str, label: str, paper: str) -> dict[str, Any]:
    kind: type[EncoderModel] = FetalCLIPSeg if key.endswith("seg") else FetalCLIPCls
    architecture = load_architecture("fetalclip")
    images = torch.empty(
        COUNT_BATCH, 3, architecture.vision.image_size, architecture.vision.image_size, device="meta"
    )
    with torch.device("meta"):
        model = kind(architecture, empty_tower(architecture.transformer))
        model.add_adapters()
        released = kind(architecture, _released_tower(architecture))
    ours = learning_count(model, images)
    marked = trainable_count(released)
    if isinstance(released, FetalCLIPSeg):
        with torch.no_grad():  # as the released encoder wrapper does
            features = released.features(images)
        released.decoder(images, features).sum().backward()
        return _row(key, label, None, "lora", paper, ours, marked, _with_gradient(released), RELEASED_SEG)
    return _row(key, label, None, "lora", paper, ours, marked, learning_count(released, images), RELEASED_CLS)


def _released_tower(architecture: Architecture) -> nn.Module:
    """The encoder with open_clip's default block, adapters on the names the released code gives."""
    from open_clip.transformer import VisionTransformer
    from peft import LoraConfig, inject_adapter_in_model

    vision, lora = architecture.transformer, LoraSettings()
    tower = VisionTransformer(
        vision.image_size,
        vision.patch_size,
        vision.width,
        vision.layers,
        vision.heads,
        vision.mlp_ratio,
        output_dim=vision.embed_dim,
    )
    tower.requires_grad_(False)
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, bias="none", target_modules=list(TARGETS)
    )
    inject_adapter_in_model(config, tower)
    return tower


def _with_gradient(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.grad is not None)


def _row(
    key: str,
    label: str,
    timm_id: str | None,
    strategy: str,
    paper: str,
    ours: int,
    marked: int,
    released: int,
    reason: str = PATCH_EMBEDDING,
) -> dict[str, Any]:
    decimals = len(paper.partition(".")[2])
    return {
        "key": key,
        "label": label,
        "timm_id": timm_id,
        "strategy": strategy,
        "ours": ours,
        "paper": paper,
        "agrees": f"{ours / 1e6:.{decimals}f}" == paper,
        "released": released,
        "released_marked": marked,
        "reason": reason if ours != released else "",
    }
