"""Import of a segmentation network from a MONAI bundle, to host it as a model.

Nothing of the bundle is run: no expressions, no scripts, no TorchScript, no pickled objects. Read are its
metadata, the network's class (from a list) with plain parameters, known transforms, and a checkpoint of tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fetaliqa.deployment.monai_config_reader import ForeignNetwork, read_config, read_network, read_object
from fetaliqa.errors import BundleError, WeightsError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.model import Architecture, BaseReference, Bundle, BundleCard, TrainingData, save_bundle
from fetaliqa.model.bundle_card import Threshold
from fetaliqa.model.bundle_names import valid_name
from fetaliqa.model.fetalclip_checkpoint import read_tensors
from fetaliqa.model.monai_model import MonaiSeg
from fetaliqa.model.monai_network import build_network, network_shapes
from fetaliqa.model.preprocess import normalise

CHECKPOINTS = ("model.safetensors", "model.pt")
WRAPPERS = ("model", "state_dict", "network")  # names under which training scripts save the tensors
MAX_TEXT = 1000  # characters of a text from the bundle


def import_monai(folder: Path, out: Path, *, anatomy: str, name: str | None, version: str | None) -> Bundle:
    """Write the network of a MONAI bundle as a model bundle.

    Args:
        folder: of the MONAI bundle.
        out: folder to create.
        anatomy: what the network outlines.
        name, version: of the model; None for those in the metadata.

    Raises:
        BundleError: when the bundle needs something that is not read or run, or its input does not fit: images of
            two dimensions with 1 or 3 channels, one class, known transforms, one of the known networks.
        OptionError: when MONAI is not installed.
    """
    metadata = read_object(folder / "configs" / "metadata.json")
    file, config = read_config(folder)
    found = read_network(file, config, metadata)
    try:
        network_shapes(found.config)
    except WeightsError as problem:
        raise BundleError(f"{file}: {problem}") from None
    checkpoint, state = _checkpoint(folder)
    architecture = Architecture(found.config.network, found.config, found.foreground)
    try:
        model = MonaiSeg(architecture, build_network(found.config, state=state)).eval()
    except WeightsError as problem:
        raise BundleError(f"{checkpoint}: {problem}") from None
    _check_output(folder, model)
    try:
        card = _card(folder, metadata, checkpoint, found, architecture, anatomy, name, version)
    except ValueError as problem:
        raise BundleError(f"{folder}: {problem}") from None
    return save_bundle(model, card, out)


def _checkpoint(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    for name in CHECKPOINTS:
        file = folder / "models" / name
        if file.is_file():
            break
    else:
        script = " (model.ts holds code, and is not loaded)" if (folder / "models" / "model.ts").exists() else ""
        raise BundleError(f"{folder / 'models'}: no model.pt or model.safetensors with tensors in it{script}")
    try:
        state: Mapping[str, Any] = read_tensors(file)
    except WeightsError as problem:
        raise BundleError(str(problem)) from None
    for wrapper in WRAPPERS:
        inner = state.get(wrapper)
        if isinstance(inner, Mapping):
            state = inner
            break
    tensors = {str(key).removeprefix("module."): value for key, value in state.items()}
    for key, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise BundleError(f"{file}: {key[:80]!r} is a {type(value).__name__}, not a tensor")
    return file, {key: value.float() for key, value in tensors.items() if value.is_floating_point()}


def _check_output(folder: Path, model: MonaiSeg) -> None:
    """Run the network on a black frame: sizes that do not fit are found now, not at the first case."""
    size = model.config.image_size
    try:
        with torch.inference_mode():
            logits = model(normalise(torch.zeros(1, size, size, dtype=torch.uint8)))
    except (WeightsError, RuntimeError, ValueError) as problem:
        text = " ".join(str(problem).split())[:200]
        raise BundleError(
            f"{folder}: the network does not read frames of {size} x {size} pixels ({text})"
        ) from None
    if not bool(torch.isfinite(logits).all()):
        raise BundleError(f"{folder}: the network's output holds values that are not finite numbers")


def _card(
    folder: Path,
    metadata: Mapping[str, Any],
    checkpoint: Path,
    found: ForeignNetwork,
    architecture: Architecture,
    anatomy: str,
    name: str | None,
    version: str | None,
) -> BundleCard:
    chosen = name or re.sub(r"[^A-Za-z0-9._-]+", "_", _text(metadata, "name") or folder.resolve().name).strip(
        "._-"
    )
    number = version or _text(metadata, "version") or "1"
    if not valid_name(chosen) or not valid_name(number):
        raise BundleError(f"{folder}: name {chosen[:60]!r}, version {number[:60]!r}; give usable ones")
    use = _text(metadata, "intended_use") or "not stated by its authors"
    return BundleCard(
        name=chosen,
        version=number,
        task="segmentation",
        architecture=architecture,
        lora=None,
        base=BaseReference("included", "0" * 64),
        anatomy=anatomy,
        training_data=TrainingData(
            _text(metadata, "data_source") or "not stated",
            file_sha256(checkpoint),
            f"as its authors state; the hash is that of {checkpoint.name}, not of the data",
        ),
        licence=_licence(folder, metadata),
        intended_use=f"{use}. Not for any clinical use.",
        limitations="Imported from a MONAI bundle, not evaluated here. It predicts no Dice of its outlines.",
        threshold=Threshold(found.threshold or 0.5),
    )


def _text(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    return " ".join(value.split())[:MAX_TEXT].rstrip(".") if isinstance(value, str) else ""


def _licence(folder: Path, metadata: Mapping[str, Any]) -> str:
    """The licence that the bundle states, else the first line of its licence file."""
    for key in ("license", "licence"):
        if text := _text(metadata, key):
            return text
    for file in (folder / "docs" / "license.txt", folder / "LICENSE", folder / "docs" / "LICENSE"):
        if file.is_file():
            lines = [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
            first = next((line for line in lines if line), "")
            if first:
                return f"{first[:200]} (docs of the MONAI bundle)"
    return "not stated; ask its authors"
