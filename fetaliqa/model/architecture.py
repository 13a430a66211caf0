"""Model architectures as dataclasses, read from ``configs/*.json``.

FetalCLIP's image encoder is a ViT-L/14 at 224 pixels with a 117-token text context (BioMedIA-MBZUAI/FetalCLIP,
``FetalCLIP_config.json``). The demo architecture is the same class of network with small dimensions. The compact
architecture is a convolutional network: an EfficientNet-Lite encoder with a feature pyramid decoder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources

from fetaliqa.errors import OptionError
from fetaliqa.model.json_records import from_json
from fetaliqa.model.network_config import ForegroundConfig, NetworkConfig

DECODER_STRIDE = 16  # the decoder upsamples its grid by 2 four times
PYRAMID_GROUPS = 32  # of the decoder's group normalisation
MAX_DIMENSION = 65536  # rejects absurd sizes in a damaged card before memory is allocated


@dataclass(frozen=True)
class VisionConfig:
    """Size of an image encoder (a vision transformer with a class token).

    Attributes:
        image_size: side of the square input, pixels.
        patch_size: side of a patch, pixels; must divide ``image_size``.
        width: channels of a token; must be a multiple of ``heads``.
        layers: number of residual attention blocks.
        heads: attention heads per block.
        embed_dim: length of the pooled, projected output.
        mlp_ratio: hidden over outer width of a block's MLP.
    """

    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int
    embed_dim: int
    mlp_ratio: float

    def __post_init__(self) -> None:
        for name in ("image_size", "patch_size", "width", "layers", "heads", "embed_dim"):
            size = getattr(self, name)
            if not 1 <= size <= MAX_DIMENSION:
                raise ValueError(f"{name} is {size}; 1 to {MAX_DIMENSION} is accepted")
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if not 0 < self.mlp_ratio <= 64:
            raise ValueError(f"mlp_ratio is {self.mlp_ratio}; above 0 and up to 64 is accepted")

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """Patches plus the class token."""
        return self.grid**2 + 1

    @property
    def mlp_width(self) -> int:
        """Hidden channels of a block's MLP."""
        return int(self.width * self.mlp_ratio)


# Encoders of timm that a card may name, with the channels of their five feature maps (strides 2 to 32). Lite0 has
# 2.96 million parameters; the other is timm's small network for tests.
BACKBONES: dict[str, tuple[int, ...]] = {
    "tf_efficientnet_lite0": (16, 24, 40, 112, 320),
    "test_efficientnet": (16, 24, 32, 48, 64),
}
BACKBONE_STRIDE = 32  # of the deepest map


@dataclass(frozen=True)
class BackboneConfig:
    """A convolutional image encoder.

    Attributes:
        image_size: side of the square input, pixels.
        backbone: name of the network in timm, one of ``BACKBONES``.
    """

    image_size: int
    backbone: str

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(f"backbone {self.backbone!r} is not known; known are {', '.join(BACKBONES)}")
        if not 1 <= self.image_size <= MAX_DIMENSION or self.image_size % BACKBONE_STRIDE:
            raise ValueError(f"image_size is {self.image_size}; a multiple of {BACKBONE_STRIDE} is needed")

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.backbone

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the feature maps at strides 2, 4, 8, 16 and 32."""
        return BACKBONES[self.backbone]

    @property
    def embed_dim(self) -> int:
        """Length of the pooled output: channels of the deepest map."""
        return self.channels[-1]


EncoderConfig = VisionConfig | BackboneConfig | NetworkConfig


@dataclass(frozen=True)
class TextConfig:
    """Size of the text encoder; only used to check the layout of a full checkpoint."""

    context_length: int
    vocab_size: int
    width: int
    heads: int
    layers: int
    embed_dim: int
    mlp_ratio: float

    @property
    def mlp_width(self) -> int:
        """Hidden channels of a block's MLP."""
        return int(self.width * self.mlp_ratio)


@dataclass(frozen=True)
class DecoderConfig:
    """Inputs and width of the segmentation decoder.

    Attributes:
        taps: four increasing block numbers (from 1) whose outputs the decoder reads; FetalCLIP-IQA's released code
            uses (6, 8, 12, 24).
        init_filters: channels at full resolution (F = 32 in the paper), doubled at each lower resolution.
    """

    taps: tuple[int, int, int, int]
    init_filters: int

    def __post_init__(self) -> None:
        if list(self.taps) != sorted(set(self.taps)) or self.taps[0] < 1:
            raise ValueError(f"taps are {list(self.taps)}; four increasing block numbers from 1 are needed")
        if not 1 <= self.init_filters <= 1024:
            raise ValueError(f"init_filters is {self.init_filters}; 1 to 1024 is accepted")


@dataclass(frozen=True)
class PyramidConfig:
    """A feature pyramid decoder (arXiv 1612.03144, 1901.02446) and the frame head.

    Attributes:
        pyramid_channels: channels of each pyramid level.
        segmentation_channels: channels of the merged map for the outline, at a quarter of the image side.
        hidden: hidden units of the frame head.
    """

    pyramid_channels: int
    segmentation_channels: int
    hidden: int

    def __post_init__(self) -> None:
        for name in ("pyramid_channels", "segmentation_channels", "hidden"):
            if not 1 <= getattr(self, name) <= 1024:
                raise ValueError(f"{name} is {getattr(self, name)}; 1 to 1024 is accepted")
        if self.segmentation_channels % PYRAMID_GROUPS:
            raise ValueError(
                f"segmentation_channels is {self.segmentation_channels}; a multiple of {PYRAMID_GROUPS} is needed"
            )


@dataclass(frozen=True)
class Architecture:
    """An encoder and the decoder of a segmentation model (None for a classifier)."""

    name: str
    vision: VisionConfig | BackboneConfig | NetworkConfig
    decoder: DecoderConfig | PyramidConfig | ForegroundConfig | None

    def __post_init__(self) -> None:
        if isinstance(self.vision, NetworkConfig) != isinstance(self.decoder, ForegroundConfig):
            raise ValueError(
                "a network of MONAI, and no other encoder, has outputs and an activation as its decoder"
            )
        if isinstance(self.vision, NetworkConfig) or isinstance(self.decoder, ForegroundConfig):
            return
        if isinstance(self.vision, BackboneConfig):
            if not isinstance(self.decoder, PyramidConfig):
                raise ValueError(f"encoder {self.vision.backbone} needs a feature pyramid decoder")
            return
        if isinstance(self.decoder, PyramidConfig):
            raise ValueError("a feature pyramid decoder needs a convolutional encoder")
        if self.decoder is None:
            return
        if self.decoder.taps[-1] > self.vision.layers:
            raise ValueError(f"taps {list(self.decoder.taps)} go beyond the encoder's {self.vision.layers} blocks")
        if self.vision.image_size % DECODER_STRIDE:
            raise ValueError(
                f"image_size {self.vision.image_size} is not a multiple of {DECODER_STRIDE}, as the decoder needs"
            )

    @property
    def transformer(self) -> VisionConfig:
        """The configuration of the encoder, if it is a transformer.

        Raises:
            OptionError: when it is not.
        """
        if isinstance(self.vision, VisionConfig):
            return self.vision
        raise OptionError(f"architecture {self.name!r} has no transformer encoder")


def _config_text(name: str) -> str:
    file = resources.files("fetaliqa.model") / "configs" / f"{name}.json"
    return file.read_text(encoding="utf-8")


def load_architecture(name: str) -> Architecture:
    """The architecture called ``name`` (``fetalclip``, ``compact``, ``demo``, ...).

    Raises:
        OptionError: when the name is unknown.
    """
    names = architecture_names()
    if name not in names:
        raise OptionError(f"unknown architecture {name!r}; known: {', '.join(names)}")
    return from_json(Architecture, json.loads(_config_text(name)), f"architecture {name}", OptionError)


def architecture_names() -> list[str]:
    """Names that ``load_architecture`` accepts."""
    folder = resources.files("fetaliqa.model") / "configs"
    stems = [entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json")]
    return sorted(stem for stem in stems if not stem.endswith("-text"))


def fetalclip_text() -> TextConfig:
    """The text encoder of the published checkpoint (context 117, not CLIP's 77)."""
    return from_json(TextConfig, json.loads(_config_text("fetalclip-text")), "configs/fetalclip-text", OptionError)
