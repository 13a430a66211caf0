"""Model bundles: folders with a card and the trained tensors, verified before loading."""

from __future__ import annotations

import hashlib
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
from fetaliqa.model.bundle_card import (
    ADAPTER_FILE,
    BASE_FILE,
    HEAD_FILE,
    BaseReference,
    BundleCard,
    parse_card,
    read_card,
)
from fetaliqa.model.bundle_names import CARD_FILE
from fetaliqa.model.decoder import fuse_batch_norms
from fetaliqa.model.encoder_kinds import build_encoder, encoder_parameters, encoder_state
from fetaliqa.model.encoder_model import EncoderModel
from fetaliqa.model.fetalclip_weights import load_visual, read_record
from fetaliqa.model.image_encoder import check_state
from fetaliqa.model.interval_file import read_intervals
from fetaliqa.model.model_kinds import model_class
from fetaliqa.model.tensor_hashes import short, tensors_sha256


class Bundle:
    """A bundle on disk. Its card is read and checked; tensors are read by ``load_model``.

    Attributes:
        directory: the bundle's folder.
        card: content of ``card.json``.
        fingerprint: SHA-256 of the card's bytes. The card holds the hash of every file, so two bundles with the
            same fingerprint are the same model.
        intervals: calibration of its intervals, or why there is none.
    """

    def __init__(self, directory: Path, card: BundleCard, fingerprint: str) -> None:
        self.directory = directory
        self.card = card
        self.fingerprint = fingerprint
        self.intervals = read_intervals(directory, fingerprint)

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read a bundle's card and check that its files exist.

        Raises:
            BundleError: when the folder is not a complete bundle of a known schema.
        """
        directory = Path(path)
        card = read_card(directory)
        for name in card.files:
            if not (directory / name).is_file():
                raise BundleError(f"{directory}: {name} is missing; copy the whole bundle again")
        fingerprint = hashlib.sha256((directory / CARD_FILE).read_bytes()).hexdigest()
        return cls(directory, card, fingerprint)

    def load_model(
        self,
        weights: str | Path | Mapping[str, torch.Tensor] | None = None,
        device: str | torch.device = "cpu",
        *,
        merge: bool = True,
    ) -> EncoderModel:
        """Load the model in eval mode.

        Args:
            weights: path of the FetalCLIP weights, or the tensors of their image encoder; None for the user's
                imported weights. Not used by a bundle that includes its encoder.
            device: device of the model.
            merge: merge the adapters and batch norms into the weights for inference; False keeps them trainable.

        Raises:
            BundleError: when a file's hash is wrong, tensors are missing or extra, or the base weights are not
                those that the bundle was trained on.
            WeightsError: when the base weights are missing or not FetalCLIP's.
        """
        card = self.card
        base = self._base_state(weights)
        head = self.tensors(HEAD_FILE)
        adapter = self.tensors(ADAPTER_FILE) if card.lora is not None else None
        vision = card.architecture.vision
        try:
            if card.lora is not None and adapter is not None and merge:
                vision = card.architecture.transformer
                base = adapters.merged_state(base, vision, card.lora, adapter, f"{self.directory / ADAPTER_FILE}")
            model = model_class(card.task, card.architecture)(card.architecture, build_encoder(vision, state=base))
            model.base_sha256 = card.base.sha256
            if card.lora is not None and adapter is not None and not merge:
                vision = card.architecture.transformer
                model.add_adapters(card.lora)
                adapters.load_adapter(model.visual, vision, card.lora, adapter, f"{self.directory / ADAPTER_FILE}")
        except WeightsError as problem:
            raise BundleError(str(problem)) from None
        _load_head(model.head_module, head, f"{self.directory / HEAD_FILE}")
        model.eval()
        if merge:
            model.requires_grad_(False)
            fuse_batch_norms(model)
        return model.to(device)

    def check_base(self) -> None:
        """Check from their record that the weights imported on this machine are those of this bundle.

        Raises:
            WeightsError: when there are none.
            BundleError: when they differ.
        """
        if self.card.base.kind == "included":
            return
        record = read_record()
        if record is None:
            raise WeightsError(
                f"{self.directory} needs the FetalCLIP weights, and none are imported on this machine; "
                "run `fetaliqa weights download` or `fetaliqa weights import FILE`"
            )
        self._check_base_hash(record.visual_sha256, "the FetalCLIP weights imported on this machine")

    def _check_base_hash(self, sha256: str, origin: str) -> None:
        expected = self.card.base.sha256
        if sha256 != expected:
            raise BundleError(
                f"{self.directory}: this bundle was trained on an image encoder with hash {short(expected)}, "
                f"but {origin} has {short(sha256)}; its adapter does not match, so it is not loaded"
            )

    def _base_state(self, weights: str | Path | Mapping[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
        base = self.card.base
        if base.kind == "included":
            state, origin = self.tensors(BASE_FILE), BASE_FILE
            sha256 = tensors_sha256(state)
        elif isinstance(weights, Mapping):
            state, origin = dict(weights), "the weights given"
            sha256 = tensors_sha256(state)
        else:
            state, sha256 = load_visual(weights, self.card.architecture.transformer)
            origin = str(weights) if weights is not None else "the FetalCLIP weights imported on this machine"
        self._check_base_hash(sha256, origin)
        return state

    def parameter_counts(self) -> dict[str, int]:
        """Number of parameters in ``encoder``, ``adapter`` and ``head``, from the card alone."""
        architecture = self.card.architecture
        with torch.device("meta"):
            head = model_class(self.card.task, architecture)(architecture, nn.Identity()).head_module
        lora = self.card.lora
        adapter = adapters.adapter_shapes(architecture.transformer, lora) if lora is not None else {}
        return {
            "encoder": encoder_parameters(architecture.vision),
            "adapter": sum(math.prod(shape) for shape in adapter.values()),
            "head": sum(parameter.numel() for parameter in head.parameters()),
        }

    def check_files(self) -> None:
        """Hash all files and compare the hashes with the card.

        Raises:
            BundleError: naming the first file that differs.
        """
        for name, expected in sorted(self.card.files.items()):
            try:
                sha256 = file_sha256(self.directory / name)
            except OSError as problem:
                raise BundleError(f"{self.directory / name}: not readable ({problem.strerror})") from None
            _check_hash(self.directory / name, sha256, expected)

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of one of the bundle's files, checked against the card's hash.

        Raises:
            BundleError: when the file is not readable or its hash differs.
        """
        file = self.directory / name
        try:
            content = file.read_bytes()  # read once: the hashed bytes are the loaded ones
        except OSError as problem:
            raise BundleError(f"{file}: not readable ({problem.strerror})") from None
        _check_hash(file, hashlib.sha256(content).hexdigest(), self.card.files[name])
        try:
            return {name: _full(tensor) for name, tensor in load(content).items()}
        except SafetensorError as problem:
            raise BundleError(f"{file}: not a readable safetensors file ({problem})") from None


def _full(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor in float32: 16 bits are for storage only."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as a compact bundle stores it: matrices in 16 bits, norms and biases in 32."""
    if tensor.dtype != torch.float32 or tensor.ndim < 2:
        return tensor
    return tensor.half() if bool(tensor.abs().amax() < torch.finfo(torch.float16).max) else tensor


def _check_hash(file: Path, sha256: str, expected: str) -> None:
    if sha256 != expected:
        raise BundleError(
            f"{file} is damaged or was changed: its hash is {short(sha256)}, the card has {short(expected)}; "
            "copy the bundle again"
        )


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
