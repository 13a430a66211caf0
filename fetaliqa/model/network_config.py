"""Networks of MONAI that a card may name, with their parameters, and what they read and answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

# Classes of monai.networks.nets that map an image to logits on the same grid, and can be built from plain values
NETWORKS = ("UNet", "BasicUNet", "AttentionUnet", "SegResNet", "SwinUNETR", "UNETR")
LARGEST_NUMBER = 4096  # channels, or any other size
MOST_ENTRIES = 64  # of a list
LONGEST_TEXT = 64
MOST_SWIN_BLOCKS, MOST_SWIN_FEATURES = 32, 96  # MONAI builds this one in memory before its tensors can be compared
IMAGE_SIZES = (32, 1024)  # pixels; least and largest


@dataclass(frozen=True)
class IntensityStep:
    """A change of the grey levels before the network, as MONAI's transforms make it.

    Attributes:
        kind: ``range`` maps ``low`` to ``to_low`` and ``high`` to ``to_high`` (ScaleIntensityRange); ``minmax``
            does so with the frame's own least and largest value (ScaleIntensity); ``zscore`` subtracts the frame's
            mean and divides by its standard deviation (NormalizeIntensity).
        low, high: of ``range``.
        to_low, to_high: of ``range`` and ``minmax``.
        option: of ``range``: clip to ``to_low`` and ``to_high``; of ``zscore``: of pixels above 0 alone.
    """

    kind: Literal["range", "minmax", "zscore"]
    low: float = 0.0
    high: float = 255.0
    to_low: float = 0.0
    to_high: float = 1.0
    option: bool = False

    def __post_init__(self) -> None:
        if self.kind == "range" and self.low == self.high:
            raise ValueError(f"grey levels from {self.low} to {self.high} have no range")


@dataclass(frozen=True)
class NetworkConfig:
    """A segmentation network of MONAI, as the whole of a model.

    Attributes:
        image_size: side of the square input, pixels.
        network: name of its class in ``monai.networks.nets``, one of ``NETWORKS``.
        parameters: arguments of the class, plain values.
        intensity: changes of the grey levels (0 to 255), in order.
        transposed: whether the network reads columns before rows, as MONAI loads images.
    """

    image_size: int
    network: str
    parameters: dict[str, Any]
    intensity: tuple[IntensityStep, ...]
    transposed: bool

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"the network {self.network!r} is not known; known are {', '.join(NETWORKS)}")
        least, largest = IMAGE_SIZES
        if not least <= self.image_size <= largest:
            raise ValueError(f"image_size is {self.image_size}; {least} to {largest} is accepted")
        for name, value in self.parameters.items():
            check_plain(name, value)
        if self.network == "SwinUNETR":
            blocks = self.parameters.get("depths", [2, 2, 2, 2])
            features = self.parameters.get("feature_size", 24)
            if not (_whole(features) and features <= MOST_SWIN_FEATURES):
                raise ValueError(f"feature_size is {features!r}; up to {MOST_SWIN_FEATURES} is accepted")
            if not (isinstance(blocks, list) and all(map(_whole, blocks)) and sum(blocks) <= MOST_SWIN_BLOCKS):
                raise ValueError(f"depths are {blocks!r}; up to {MOST_SWIN_BLOCKS} blocks are accepted")

    @property
    def channels(self) -> int:
        """Channels of the input; grey levels are repeated."""
        channels = self.parameters.get("in_channels", 1)
        return channels if _whole(channels) else 1

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.network

    @property
    def embed_dim(self) -> int:
        """Length of the pooled output; 0, there is none."""
        return 0


@dataclass(frozen=True)
class ForegroundConfig:
    """How the outline is read from a network's output.

    Attributes:
        outputs: channels: 1, or 2 of which the second is the anatomy.
        activation: of the logits.
    """

    outputs: int
    activation: Literal["sigmoid", "softmax"]

    def __post_init__(self) -> None:
        if self.outputs not in (1, 2) or (self.outputs == 1 and self.activation == "softmax"):
            raise ValueError(
                f"{self.outputs} output channel(s) with {self.activation}; one with sigmoid, or two, are accepted"
            )


def check_plain(name: str, value: Any) -> None:
    """Check that a parameter of a network is a plain value: no expression, no object to build, no absurd size.

    Raises:
        ValueError: naming the parameter.
    """
    if isinstance(value, dict):
        if any(not isinstance(key, str) or key.startswith("_") for key in value):
            raise ValueError(f"{name} describes an object to build; only plain values are accepted")
        for key, one in value.items():
            check_plain(f"{name}: {key}", one)
    elif isinstance(value, list | tuple):
        if len(value) > MOST_ENTRIES:
            raise ValueError(f"{name} has {len(value)} entries; at most {MOST_ENTRIES} are accepted")
        for one in value:
            check_plain(name, one)
    elif isinstance(value, str):
        if value[:1] in ("$", "@", "%") or len(value) > LONGEST_TEXT or "/" in value:
            raise ValueError(
                f"{name} is {value[:LONGEST_TEXT]!r}, not a plain value; expressions are not evaluated"
            )
    elif isinstance(value, bool) or value is None:
        return
    elif not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > LARGEST_NUMBER:
        raise ValueError(f"{name} is {value!r}; numbers up to {LARGEST_NUMBER} are accepted")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
