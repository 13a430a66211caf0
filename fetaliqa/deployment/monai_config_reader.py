"""Reads what a segmentation network of a MONAI bundle is and expects, as data: nothing in the bundle is run.

MONAI's own parser evaluates expressions and builds any object that a configuration names. Here only what is listed
is understood, and everything else is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fetaliqa.errors import BundleError
from fetaliqa.model.network_config import NETWORKS, ForegroundConfig, IntensityStep, NetworkConfig, check_plain

CONFIGS = ("inference.json", "inference.yaml", "inference.yml", "train.json", "train.yaml", "train.yml")
MAX_CONFIG_BYTES = 1 << 20
NETS = "monai.networks.nets."
DEFAULT_SIZE = 224  # pixels, for a network that takes any size
# transforms without an effect on the values that the network reads, for a frame that is read by this software
NEUTRAL = {
    "LoadImage", "EnsureChannelFirst", "AddChannel", "AsChannelFirst", "EnsureType", "ToTensor", "CastToType",
    "SelectItems", "Identity",
}  # fmt: skip
# what follows on the activation: this software does it in its own way
AFTER = {
    "Invert", "SaveImage", "EnsureType", "ToTensor", "KeepLargestConnectedComponent", "FillHoles", "Identity",
    "SqueezeDim", "CopyItems", "SelectItems", "DeleteItems", "SaveClassification", "Resize", "CastToType",
}  # fmt: skip


@dataclass
class Preparation:
    """What a list of transforms says about the network's input."""

    intensity: list[IntensityStep] = field(default_factory=list)
    transposed: bool = True  # LoadImage reads columns, then rows
    size: int | None = None


@dataclass(frozen=True)
class ForeignNetwork:
    """A network that a bundle describes, and its probability threshold (None: 0.5)."""

    config: NetworkConfig
    foreground: ForegroundConfig
    threshold: float | None


def read_config(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The inference configuration of a bundle, else that of training: its file and its content.

    Raises:
        BundleError: when there is none, or it is not readable.
    """
    for name in CONFIGS:
        file = folder / "configs" / name
        if file.is_file():
            return file, read_object(file)
    raise BundleError(
        f"{folder}: no configs/inference.json in it, so it is not a MONAI bundle that can be imported"
    )


def read_object(file: Path) -> dict[str, Any]:
    """The object in a JSON or YAML file.

    Raises:
        BundleError: when it is not readable, too large, or something else.
    """
    import yaml

    try:
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise BundleError(f"{file}: larger than {MAX_CONFIG_BYTES} bytes")
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except FileNotFoundError:
        raise BundleError(f"{file}: no such file; a MONAI bundle has it") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as problem:
        raise BundleError(f"{file}: not readable ({' '.join(str(problem).split())[:160]})") from None
    if not isinstance(content, dict):
        raise BundleError(f"{file}: an object with named fields is needed")
    return content


def read_network(file: Path, config: Mapping[str, Any], metadata: Mapping[str, Any]) -> ForeignNetwork:
    """The network of a configuration.

    Args:
        file: the configuration's, for errors.
        config: its content.
        metadata: content of ``metadata.json``.

    Raises:
        BundleError: naming the first thing that this software does not read or cannot do.
    """
    name, parameters = _definition(file, config)
    inputs = _tensor(metadata, "inputs")
    prepared = _prepared(file, config, inputs)
    size = prepared.size or _size(file, inputs)
    if parameters.get("spatial_dims", 3) != 2:
        raise BundleError(f"{file}: {name} of {parameters.get('spatial_dims', 3)} dimensions; 2 are needed")
    channels, outputs = parameters.get("in_channels", 1), parameters.get("out_channels", 2)
    if channels not in (1, 3) or isinstance(channels, bool):
        raise BundleError(f"{file}: {name} reads {channels!r} channels; 1 or 3 are needed")
    if outputs not in (1, 2) or isinstance(outputs, bool):
        raise BundleError(
            f"{file}: {name} has {outputs!r} output channels; 1, or background and 1 class, are needed"
        )
    activation, threshold = _activation(file, config, outputs)
    _check_inferer(file, config, size)
    try:
        return ForeignNetwork(
            NetworkConfig(size, name, dict(parameters), tuple(prepared.intensity), prepared.transposed),
            ForegroundConfig(outputs, activation),  # type: ignore[arg-type]
            threshold,
        )
    except ValueError as problem:
        raise BundleError(f"{file}: {problem}") from None


def _definition(file: Path, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    definition = config.get("network_def")
    if isinstance(definition, str):
        raise BundleError(
            f"{file}: network_def is an expression ({definition[:60]!r}), and expressions are not run; "
            f"it has to name a class ({', '.join(NETWORKS)}) with plain parameters"
        )
    if not isinstance(definition, dict) or not isinstance(definition.get("_target_"), str):
        raise BundleError(f"{file}: no network_def with a _target_")
    target = definition["_target_"]
    name = target.removeprefix(NETS).rpartition(".")[2] if target.startswith(NETS) else target
    if name not in NETWORKS:
        raise BundleError(f"{file}: the network {target[:80]!r} is not hosted; possible are {', '.join(NETWORKS)}")
    parameters = {key: value for key, value in definition.items() if not key.startswith("_")}
    odd = [key for key in definition if key.startswith("_") and key not in ("_target_", "_desc_")]
    if odd:
        raise BundleError(f"{file}: network_def: {odd[0]} is not supported")
    for key, value in parameters.items():
        try:
            check_plain(key, value)
        except ValueError as problem:
            raise BundleError(f"{file}: network_def: {problem}") from None
    return name, parameters


def _tensor(metadata: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    """The only input or output in the metadata; empty when it is not described."""
    formats = metadata.get("network_data_format")
    tensors = formats.get(side) if isinstance(formats, dict) else None
    found = [one for one in tensors.values() if isinstance(one, dict)] if isinstance(tensors, dict) else []
    if len(found) > 1:
        raise BundleError(f"metadata.json: {len(found)} {side}; a network with one is needed")
    return found[0] if found else {}


def _size(file: Path, inputs: Mapping[str, Any]) -> int:
    shape = inputs.get("spatial_shape")
    if not isinstance(shape, list) or not shape:
        return DEFAULT_SIZE
    if len(shape) != 2:
        raise BundleError(f"{file}: the network reads {len(shape)}-dimensional images; 2 dimensions are needed")
    sizes = {one for one in shape if isinstance(one, int)}
    if len(sizes) > 1 or (sizes and len(set(map(str, shape))) > 1):
        raise BundleError(f"{file}: the network reads images of {shape}; a square is needed")
    return sizes.pop() if sizes else DEFAULT_SIZE


def _transforms(file: Path, config: Mapping[str, Any], section: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Names, without the d of dictionary transforms, and parameters of a section's transforms."""
    part = config.get(section)
    if part is None:
        return []
    transforms = part.get("transforms") if isinstance(part, dict) else part
    if not isinstance(transforms, list):
        raise BundleError(f"{file}: {section} is no list of transforms")
    named = []
    for one in transforms:
        target = one.get("_target_") if isinstance(one, dict) else None
        if not isinstance(target, str):
            raise BundleError(
                f"{file}: {section} has {str(one)[:60]!r}, which is no transform with plain parameters"
            )
        if one.get("_disabled_") is True:
            continue
        name = target.rpartition(".")[2]
        for ending in ("Dict", "D", "d"):  # as MONAI names them
            if name.endswith(ending):
                name = name.removesuffix(ending)
                break
        named.append((name, one))
    return named


def _prepared(file: Path, config: Mapping[str, Any], inputs: Mapping[str, Any]) -> Preparation:
    transforms = _transforms(file, config, "preprocessing")
    prepared = Preparation()
    for name, values in transforms:
        if name == "LoadImage" and values.get("reverse_indexing") is False:
            prepared.transposed = False
        if name in NEUTRAL:
            continue
        if name == "Transpose" and values.get("indices") in ([0, 2, 1], (0, 2, 1)):
            prepared.transposed = not prepared.transposed
        elif name == "Resize":
            prepared.size = _resized(file, values)
        elif name in ("ScaleIntensity", "ScaleIntensityRange", "NormalizeIntensity"):
            prepared.intensity.append(_intensity(file, name, values))
        else:
            raise BundleError(f"{file}: preprocessing has {name}, which this software cannot do")
    if not transforms and inputs.get("value_range") == [0, 1]:
        prepared.intensity.append(IntensityStep("range"))
    return prepared


def _resized(file: Path, values: Mapping[str, Any]) -> int:
    size = values.get("spatial_size")
    sizes = set(size) if isinstance(size, list) else {size}
    one = sizes.pop() if len(sizes) == 1 else None
    if not isinstance(one, int) or isinstance(one, bool) or values.get("size_mode", "all") != "all":
        raise BundleError(f"{file}: preprocessing resizes to {size!r}; a square of a given size is needed")
    return one


def _intensity(file: Path, name: str, values: Mapping[str, Any]) -> IntensityStep:
    def number(key: str, default: float | None = None) -> float:
        value = values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BundleError(f"{file}: {name}: {key} is {value!r}; a number is needed")
        return float(value)

    try:
        if name == "ScaleIntensity":
            if values.get("factor") is not None:
                raise BundleError(f"{file}: ScaleIntensity with a factor, which this software cannot do")
            return IntensityStep("minmax", to_low=number("minv", 0.0), to_high=number("maxv", 1.0))
        if name == "ScaleIntensityRange":
            ends = (number("a_min"), number("a_max"), number("b_min"), number("b_max"))
            return IntensityStep("range", *ends, option=values.get("clip") is True)
        nonzero = values.get("nonzero") is True
        if values.get("subtrahend") is None and values.get("divisor") is None:
            return IntensityStep("zscore", option=nonzero)
        if nonzero:
            raise BundleError(f"{file}: NormalizeIntensity of nonzero pixels with given numbers is not supported")
        mean = number("subtrahend")
        return IntensityStep("range", mean, mean + number("divisor"))
    except ValueError as problem:
        raise BundleError(f"{file}: {name}: {problem}") from None


def _activation(file: Path, config: Mapping[str, Any], outputs: int) -> tuple[str, float | None]:
    """Activation of the logits, and the threshold of the mask if it is given."""
    activation, threshold = "sigmoid" if outputs == 1 else "softmax", None
    for name, values in _transforms(file, config, "postprocessing"):
        if name == "Activations":
            chosen = [kind for kind in ("sigmoid", "softmax") if values.get(kind) is True]
            if len(chosen) != 1 or (chosen == ["softmax"] and outputs == 1):
                raise BundleError(f"{file}: Activations of {outputs} channel(s); sigmoid or softmax is needed")
            activation = chosen[0]
        elif name == "AsDiscrete":
            threshold = _threshold(file, values)
            if outputs == 2 and values.get("argmax") is True:
                activation = "softmax"  # the larger one of two logits, whatever their activation
        elif name not in AFTER:
            raise BundleError(f"{file}: postprocessing has {name}, which this software cannot do")
    return activation, threshold


def _threshold(file: Path, values: Mapping[str, Any]) -> float | None:
    threshold = values.get("threshold")
    if threshold is None:
        return None
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold < 1:
        raise BundleError(f"{file}: AsDiscrete has the threshold {threshold!r}; one between 0 and 1 is needed")
    return float(threshold)


def _check_inferer(file: Path, config: Mapping[str, Any], size: int) -> None:
    inferer = config.get("inferer")
    target = inferer.get("_target_") if isinstance(inferer, dict) else None
    name = target.rpartition(".")[2] if isinstance(target, str) else ""
    if inferer is None or name == "SimpleInferer":
        return
    roi: Any = inferer.get("roi_size") if isinstance(inferer, dict) else None
    whole = isinstance(roi, Sequence) and not isinstance(roi, str) and set(roi) <= {size, -1}
    if name in ("SlidingWindowInferer", "SliceInferer") and (whole or roi in (size, -1)):
        return
    raise BundleError(
        f"{file}: the inferer {name or str(inferer)[:40]!r} reads parts of an image; a network of whole images "
        f"of {size} x {size} pixels is needed"
    )
