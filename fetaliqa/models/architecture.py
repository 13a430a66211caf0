"""Architectures as data: dataclasses read from ``configs/*.json``.

FetalCLIP's image encoder is a ViT-L/14 at 224 pixels with a 117-token text context (BioMedIA-MBZUAI/FetalCLIP,
``FetalCLIP_config.json``). The demo architecture is the same class of network with small dimensions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib import resources

from fetaliqa.errors import OptionError
from fetaliqa.models.records import from_json

TAP_COUNT = 4  # encoder depths the decoder takes
DECODER_STRIDE = 16  # the decoder doubles its grid four times to reach the image size
PAPER_TAPS = (6, 8, 12, 24)  # FetalCLIP-IQA's released code
UNETR_TAPS = (6, 12, 18, 24)  # the even spacing of UNETR (arXiv 2103.10504)
MAX_DIMENSION = 65536  # refuses absurd sizes in a damaged card before memory is asked for


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


@dataclass(frozen=True)
class TextConfig:
    """Size of the text encoder; only used to check the layout of a whole checkpoint."""

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
    """What the segmentation decoder takes from the encoder, and how wide it is.

    Attributes:
        taps: four block numbers, counted from 1 and increasing, whose output the decoder reads.
        init_filters: channels at full resolution (the paper's F = 32); doubled at each halving.
    """

    taps: tuple[int, int, int, int]
    init_filters: int

    def __post_init__(self) -> None:
        if list(self.taps) != sorted(set(self.taps)) or self.taps[0] < 1:
            raise ValueError(f"taps are {list(self.taps)}; four increasing block numbers from 1 are needed")
        if not 1 <= self.init_filters <= 1024:
            raise ValueError(f"init_filters is {self.init_filters}; 1 to 1024 is accepted")


@dataclass(frozen=True)
class Architecture:
    """An encoder, and the decoder of a segmentation model (None for a classifier)."""

    name: str
    vision: VisionConfig
    decoder: DecoderConfig | None

    def __post_init__(self) -> None:
        if self.decoder is None:
            return
        if self.decoder.taps[-1] > self.vision.layers:
            raise ValueError(f"taps {list(self.decoder.taps)} go beyond the encoder's {self.vision.layers} blocks")
        if self.vision.image_size % DECODER_STRIDE:
            raise ValueError(
                f"image_size {self.vision.image_size} is not a multiple of {DECODER_STRIDE}, as the decoder needs"
            )

    def with_taps(self, taps: tuple[int, int, int, int]) -> Architecture:
        """The same architecture with the decoder reading other blocks.

        Raises:
            OptionError: when the taps are not four increasing block numbers of this encoder.
        """
        if self.decoder is None:
            raise OptionError(f"architecture {self.name!r} has no decoder, so it has no taps")
        try:
            return replace(self, decoder=replace(self.decoder, taps=taps))
        except ValueError as problem:
            raise OptionError(str(problem)) from None


def _config_text(name: str) -> str:
    file = resources.files("fetaliqa.models") / "configs" / f"{name}.json"
    return file.read_text(encoding="utf-8")


def load_architecture(name: str) -> Architecture:
    """The architecture called ``name`` (``fetalclip`` or ``demo``).

    Raises:
        OptionError: when no such architecture is known.
    """
    known = architecture_names()
    if name not in known:
        raise OptionError(f"unknown architecture {name!r}; known: {', '.join(known)}")
    return from_json(Architecture, json.loads(_config_text(name)), f"architecture {name}", OptionError)


def architecture_names() -> list[str]:
    """Names that ``load_architecture`` accepts."""
    folder = resources.files("fetaliqa.models") / "configs"
    stems = [entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json")]
    return sorted(stem for stem in stems if not stem.endswith("-text"))


def fetalclip_text() -> TextConfig:
    """The text encoder of the published checkpoint (context 117, not CLIP's 77)."""
    return from_json(TextConfig, json.loads(_config_text("fetalclip-text")), "configs/fetalclip-text", OptionError)
