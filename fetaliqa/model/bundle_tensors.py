"""Tensors of bundles: loading models from them, and saving trained models as new ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from fetaliqa.atomic import atomic_directory, write_json
from fetaliqa.errors import BundleError, WeightsError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.model import lora as adapters
from fetaliqa.model.architecture import Architecture, BackboneConfig, load_architecture
from fetaliqa.model.bundle import Bundle
from fetaliqa.model.bundle_card import (
    ADAPTER_FILE,
    BASE_FILE,
    HEAD_FILE,
    BaseReference,
    BundleCard,
    parse_card,
)
from fetaliqa.model.bundle_names import CARD_FILE
from fetaliqa.model.decoder import fuse_batch_norms
from fetaliqa.model.encoder_kinds import build_encoder, encoder_parameters, encoder_state
from fetaliqa.model.encoder_model import EncoderModel
from fetaliqa.model.fetalclip_weights import load_visual
from fetaliqa.model.image_encoder import check_state
from fetaliqa.model.model_kinds import model_class
from fetaliqa.model.tensor_hashes import short, tensors_sha256

Weights = str | Path | Mapping[str, torch.Tensor] | None


def load_bundle(bundle: Bundle, weights: Weights, device: str | torch.device, merge: bool) -> EncoderModel:
    """See :meth:`Bundle.load_model`."""
    card = bundle.card
    base = _base_state(bundle, weights)
    head = bundle.tensors(HEAD_FILE)
    adapter = bundle.tensors(ADAPTER_FILE) if card.lora is not None else None
    vision = card.architecture.vision
    try:
        if card.lora is not None and adapter is not None and merge:
            vision = card.architecture.transformer
            base = adapters.merged_state(base, vision, card.lora, adapter, f"{bundle.directory / ADAPTER_FILE}")
        model = model_class(card.task, card.architecture)(card.architecture, build_encoder(vision, state=base))
        model.base_sha256 = card.base.sha256
        if card.lora is not None and adapter is not None and not merge:
            vision = card.architecture.transformer
            model.add_adapters(card.lora)
            adapters.load_adapter(model.visual, vision, card.lora, adapter, f"{bundle.directory / ADAPTER_FILE}")
    except WeightsError as problem:
        raise BundleError(str(problem)) from None
    _load_head(model.head_module, head, f"{bundle.directory / HEAD_FILE}")
    model.eval()
    if merge:
        model.requires_grad_(False)
        fuse_batch_norms(model)
    return model.to(device)


def _base_state(bundle: Bundle, weights: Weights) -> dict[str, torch.Tensor]:
    base = bundle.card.base
    if base.kind == "included":
        state, origin = bundle.tensors(BASE_FILE), BASE_FILE
        sha256 = tensors_sha256(state)
    elif isinstance(weights, Mapping):
        state, origin = dict(weights), "the weights given"
        sha256 = tensors_sha256(state)
    else:
        state, sha256 = load_visual(weights, bundle.card.architecture.transformer)
        origin = str(weights) if weights is not None else "the FetalCLIP weights imported on this machine"
    bundle.check_base_hash(sha256, origin)
    return state


def parameter_counts(bundle: Bundle) -> dict[str, int]:
    """See :meth:`Bundle.parameter_counts`."""
    architecture = bundle.card.architecture
    with torch.device("meta"):
        head = model_class(bundle.card.task, architecture)(architecture, nn.Identity()).head_module
    lora = bundle.card.lora
    adapter = adapters.adapter_shapes(architecture.transformer, lora) if lora is not None else {}
    return {
        "encoder": encoder_parameters(architecture.vision),
        "adapter": sum(math.prod(shape) for shape in adapter.values()),
        "head": sum(parameter.numel() for parameter in head.parameters()),
    }


def bundle_tensors(bundle: Bundle, name: str) -> dict[str, torch.Tensor]:
    """See :meth:`Bundle.tensors`."""
    try:
        return {key: _full(tensor) for key, tensor in load(bundle.content(name)).items()}
    except SafetensorError as problem:
        raise BundleError(f"{bundle.directory / name}: not a readable safetensors file ({problem})") from None


def _full(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor in float32: 16 bits are for storage only."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as a compact bundle stores it: matrices in 16 bits, norms and biases in 32."""
    if tensor.dtype != torch.float32 or tensor.ndim < 2:
        return tensor
    return tensor.half() if bool(tensor.abs().amax() < torch.finfo(torch.float16).max) else tensor


def _load_head(module: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    expected = module.state_dict()
    counters = {name for name, tensor in expected.items() if tensor.dtype == torch.int64}  # of batch norms
    for name in counters & set(state):
        if state[name].dtype != torch.int64 or state[name].shape != expected[name].shape:
            raise BundleError(
                f"{what}: {name!r} is {state[name].dtype} {tuple(state[name].shape)}; one int64 is needed"
            )
    if missing := sorted(counters - set(state)):
        raise BundleError(f"{what}: the tensor {missing[0]!r} is missing")
    try:
        check_state(
            {name: tensor for name, tensor in state.items() if name not in counters},
            {name: tuple(tensor.shape) for name, tensor in expected.items() if name not in counters},
            what,
        )
    except WeightsError as problem:
        raise BundleError(str(problem)) from None
    module.load_state_dict(dict(state), strict=True)


def save_bundle(model: EncoderModel, card: BundleCard, directory: str | Path) -> Bundle:
    """Write a bundle to a new folder, atomically.

    Args:
        model: a trained model whose adapters are not merged.
        card: its ``task``, ``architecture``, ``lora``, ``files``, ``created`` and ``base.sha256`` are set from the
            model; the rest is kept.
        directory: the folder to create; must not exist.

    Raises:
        BundleError: when the folder exists, a tensor is not finite, or the model does not match the card's base: a
            ``fetalclip`` bundle needs an encoder whose own weights are unchanged.
    """
    directory = Path(directory)
    if directory.exists():
        raise BundleError(f"{directory} exists already; a bundle is never overwritten, choose another folder")
    base = encoder_state(model.architecture.vision, model.visual)
    store = _stored if isinstance(model.architecture.vision, BackboneConfig) else _as_it_is
    base = {name: _full(store(tensor)) for name, tensor in base.items()}
    base_sha256 = tensors_sha256(base)
    if card.base.kind == "fetalclip":
        _check_untouched(model.architecture, model.base_sha256, base_sha256)
    parts = {HEAD_FILE: _on_cpu(model.head_module.state_dict())}
    if model.lora is not None:
        parts[ADAPTER_FILE] = _on_cpu(adapters.adapter_state(model.visual))
    if card.base.kind == "included":
        parts[BASE_FILE] = _on_cpu(base)
    _check_finite(parts)
    architecture = model.architecture
    if model.task == "classification":
        architecture = replace(architecture, decoder=None)
    with atomic_directory(directory) as temporary:
        for name, state in parts.items():
            stored = {key: store(tensor) for key, tensor in state.items()}
            (temporary / name).write_bytes(save(stored))  # save_file sets permissions for the owner only
        card = replace(
            card,
            task=model.task,  # type: ignore[arg-type]
            architecture=architecture,
            lora=model.lora,
            base=BaseReference(card.base.kind, base_sha256),
            files={name: file_sha256(temporary / name) for name in sorted(parts)},
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        parse_card(card.to_json(), "the new card")
        write_json(temporary / CARD_FILE, card.to_json())
    return Bundle.open(directory)


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _on_cpu(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def _check_finite(parts: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    for file, state in parts.items():
        for name, tensor in state.items():
            if not bool(torch.isfinite(tensor).all()):
                raise BundleError(
                    f"{file}: {name!r} holds values that are not finite numbers; training has diverged"
                )


def _check_untouched(architecture: Architecture, loaded: str | None, current: str) -> None:
    if architecture.vision != load_architecture("fetalclip").vision:
        raise BundleError(
            f"architecture {architecture.name!r} is not FetalCLIP's encoder; save it with an included base"
        )
    if loaded is None:
        raise BundleError(
            "this model's encoder was not loaded from FetalCLIP weights; save it with an included base"
        )
    if loaded != current:
        raise BundleError(
            f"training changed the encoder's own weights (hash {short(loaded)}, now {short(current)}); save "
            "it with an included base"
        )
