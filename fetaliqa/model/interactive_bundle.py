"""Bundles of the interactive model: a folder with a card and tensors, checked before loading.

The format is that of ``fetaliqa.model.bundle``, with a card of its own: the model outlines what is clicked on, so
it has no anatomy, and no threshold that decides whether a frame is positive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from fetaliqa.atomic import atomic_directory, write_json
from fetaliqa.errors import BundleError, WeightsError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.model.architecture import BackboneConfig
from fetaliqa.model.bundle_card import BASE_FILE, HEAD_FILE, TrainingData, read_card_file
from fetaliqa.model.bundle_names import CARD_FILE, valid_name
from fetaliqa.model.decoder import fuse_batch_norms
from fetaliqa.model.encoder_kinds import build_encoder, encoder_state
from fetaliqa.model.image_encoder import check_state
from fetaliqa.model.interactive_model import InteractiveSeg, PromptConfig
from fetaliqa.model.json_records import from_json, to_json
from fetaliqa.model.tensor_hashes import SHA256_PATTERN, short

CARD_SCHEMA = 1
FILES = {BASE_FILE, HEAD_FILE}


@dataclass(frozen=True)
class InteractiveCard:
    """Contents of an interactive bundle's ``card.json``; ``files`` and ``created`` are set when it is saved."""

    name: str
    version: str
    task: Literal["interactive"]
    vision: BackboneConfig
    decoder: PromptConfig
    training_data: TrainingData
    licence: str
    intended_use: str
    limitations: str
    metrics: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    files: dict[str, str] = field(default_factory=dict)
    schema: int = CARD_SCHEMA

    def __post_init__(self) -> None:
        for name in (self.name, self.version):
            if not valid_name(name):
                raise ValueError(f"{name!r} is not a usable name; letters, digits, '.', '_' and '-' are")

    def to_json(self) -> dict[str, Any]:
        """The card as JSON values, the schema number first."""
        values = to_json(self)
        return {"schema": values.pop("schema"), **values}


@dataclass(frozen=True)
class InteractiveBundle:
    """An interactive bundle on disk; its card is read and checked.

    Attributes:
        directory: the bundle's folder.
        card: content of ``card.json``.
        fingerprint: SHA-256 (hex) of the card's bytes. The card holds the hash of every file.
    """

    directory: Path
    card: InteractiveCard
    fingerprint: str

    @classmethod
    def open(cls, path: str | Path) -> InteractiveBundle:
        """Read a bundle's card and check that its files exist.

        Raises:
            BundleError: when the folder is not a complete interactive bundle of a known schema.
        """
        directory = Path(path)
        card = _parsed(read_card_file(directory, "a bundle card", "an interactive bundle"), directory / CARD_FILE)
        for name in card.files:
            if not (directory / name).is_file():
                raise BundleError(f"{directory}: {name} is missing; copy the whole bundle again")
        return cls(directory, card, hashlib.sha256((directory / CARD_FILE).read_bytes()).hexdigest())

    @property
    def reference(self) -> str:
        """Name and the first digits of the fingerprint, as answers name their model."""
        return f"{self.card.name}@{short(self.fingerprint)}"

    def load_model(self) -> InteractiveSeg:
        """The model on the CPU in eval mode.

        Raises:
            BundleError: when a file's hash is wrong, or tensors are missing, extra or of another shape.
        """
        card = self.card
        base, head = self._tensors(BASE_FILE), self._tensors(HEAD_FILE)
        try:
            model = InteractiveSeg(card.vision, card.decoder, build_encoder(card.vision, state=base))
            shapes = {name: tuple(tensor.shape) for name, tensor in model.decoder.state_dict().items()}
            check_state(head, shapes, f"{self.directory / HEAD_FILE}")
        except WeightsError as problem:
            raise BundleError(str(problem)) from None
        model.decoder.load_state_dict(head)
        model.eval().requires_grad_(False)
        fuse_batch_norms(model.visual)
        return model

    def _tensors(self, name: str) -> dict[str, torch.Tensor]:
        file = self.directory / name
        try:
            content = file.read_bytes()  # read once: the hashed bytes are the loaded ones
        except OSError as problem:
            raise BundleError(f"{file}: not readable ({problem.strerror})") from None
        sha256, expected = hashlib.sha256(content).hexdigest(), self.card.files[name]
        if sha256 != expected:
            raise BundleError(
                f"{file} is damaged or was changed: its hash is {short(sha256)}, the card has {short(expected)}; "
                "copy the bundle again"
            )
        try:
            return {key: tensor.float() for key, tensor in load(content).items()}
        except SafetensorError as problem:
            raise BundleError(f"{file}: not a readable safetensors file ({problem})") from None


def save_interactive_bundle(
    model: InteractiveSeg, card: InteractiveCard, directory: str | Path
) -> InteractiveBundle:
    """Write a bundle to a new folder, atomically; matrices in 16 bits, norms and biases in 32.

    Raises:
        BundleError: when the folder exists or a tensor is not finite.
    """
    directory = Path(directory)
    if directory.exists():
        raise BundleError(f"{directory} exists already; a bundle is never overwritten, choose another folder")
    parts: dict[str, Mapping[str, torch.Tensor]] = {
        BASE_FILE: encoder_state(model.vision, model.visual),
        HEAD_FILE: model.decoder.state_dict(),
    }
    with atomic_directory(directory) as temporary:
        for name, state in parts.items():
            (temporary / name).write_bytes(save({key: _stored(name, key, value) for key, value in state.items()}))
        files = {name: file_sha256(temporary / name) for name in sorted(parts)}
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        card = replace(card, vision=model.vision, decoder=model.config, files=files, created=created)
        write_json(temporary / CARD_FILE, card.to_json())
    return InteractiveBundle.open(directory)


def with_metrics(bundle: InteractiveBundle, metrics: dict[str, Any]) -> InteractiveBundle:
    """The bundle with measured figures written into its card."""
    write_json(bundle.directory / CARD_FILE, replace(bundle.card, metrics=metrics).to_json())
    return InteractiveBundle.open(bundle.directory)


def untrained_model(
    vision: BackboneConfig, config: PromptConfig, visual: nn.Module, seed: int = 0
) -> InteractiveSeg:
    """A model with a new decoder beside an encoder."""
    torch.manual_seed(seed)
    return InteractiveSeg(vision, config, visual)


def _stored(file: str, name: str, tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous().clone()
    if not bool(torch.isfinite(tensor).all()):
        raise BundleError(f"{file}: {name!r} holds values that are not finite numbers; training has diverged")
    fits = tensor.ndim >= 2 and bool(tensor.abs().amax() < torch.finfo(torch.float16).max)
    return tensor.half() if fits else tensor


def _parsed(value: Any, where: Path) -> InteractiveCard:
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != CARD_SCHEMA or isinstance(schema, bool):
        raise BundleError(f"{where}: card schema {schema!r}; this version of FetalIQA reads schema {CARD_SCHEMA}")
    card = from_json(InteractiveCard, value, str(where), BundleError)
    if set(card.files) != FILES:
        raise BundleError(
            f"{where}: files are {', '.join(sorted(card.files)) or 'none'}; {', '.join(sorted(FILES))} are needed"
        )
    for name, sha256 in card.files.items():
        if not SHA256_PATTERN.fullmatch(sha256):
            raise BundleError(f"{where}: the hash of {name} is {sha256!r}; 64 hex digits are needed")
    return card
