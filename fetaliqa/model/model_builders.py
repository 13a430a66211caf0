"""Builders of untrained models, with encoder weights or random values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

import torch

from fetaliqa.model.architecture import Architecture, load_architecture
from fetaliqa.model.classification_model import FetalCLIPCls
from fetaliqa.model.encoder_kinds import build_encoder
from fetaliqa.model.encoder_model import EncoderModel, SegmentationModel
from fetaliqa.model.fetalclip_weights import load_visual
from fetaliqa.model.lora import LoraSettings
from fetaliqa.model.model_kinds import segmentation_class
from fetaliqa.model.tensor_hashes import tensors_sha256

Model = TypeVar("Model", bound=EncoderModel)
Weights = str | Path | Mapping[str, torch.Tensor] | None
Encoder = Literal["lora", "full", "frozen"]


def build_segmentation(
    architecture: str | Architecture = "fetalclip",
    *,
    weights: Weights = None,
    random_init: bool = False,
    encoder: Encoder = "lora",
    lora: LoraSettings | None = None,
) -> SegmentationModel:
    """A segmentation model for training, with a new decoder.

    Args:
        architecture: a name (``"fetalclip"``, ``"compact"``, ...) or an architecture.
        weights: the encoder's weights: a file (published ``.pt`` or imported ``.safetensors``) or its tensors.
        random_init: initialise the encoder with random values instead.
        encoder: trainable part of the encoder: adapters, everything, or nothing.
        lora: adapter settings; None for the paper's.

    Raises:
        WeightsError: when neither or both of ``weights`` and ``random_init`` are given, or the weights do not fit.
    """
    if isinstance(architecture, str):
        architecture = load_architecture(architecture)
    return _build(segmentation_class(architecture), architecture, weights, random_init, encoder, lora)


def build_classification(
    architecture: str | Architecture = "fetalclip",
    *,
    weights: Weights = None,
    random_init: bool = False,
    encoder: Encoder = "lora",
    lora: LoraSettings | None = None,
) -> FetalCLIPCls:
    """A classification model for training, with a new linear head; arguments as ``build_segmentation``."""
    return _build(FetalCLIPCls, architecture, weights, random_init, encoder, lora)


def _build(
    kind: type[Model],
    architecture: str | Architecture,
    weights: Weights,
    random_init: bool,
    encoder: Encoder,
    lora: LoraSettings | None,
) -> Model:
    if isinstance(architecture, str):
        architecture = load_architecture(architecture)
    sha256 = None
    if isinstance(weights, str | Path):
        state, sha256 = load_visual(weights, architecture.transformer)
    else:
        state = weights  # type: ignore[assignment]
    visual = build_encoder(architecture.vision, state=state, random_init=random_init)
    model = kind(architecture, visual)
    if state is not None:
        model.base_sha256 = sha256 or tensors_sha256(state)
    if encoder == "lora":
        model.add_adapters(lora)
    elif encoder == "frozen":
        model.visual.requires_grad_(False)
    return model
