"""Cards of model bundles: metadata for identifying, loading and assessing a model, as one JSON object."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fetaliqa.errors import BundleError, OptionError
from fetaliqa.measure.anatomy import ANATOMIES
from fetaliqa.model.architecture import Architecture, VisionConfig
from fetaliqa.model.bundle_names import CARD_FILE, valid_name
from fetaliqa.model.json_records import from_json, to_json
from fetaliqa.model.lora_settings import LoraSettings
from fetaliqa.model.network_config import NetworkConfig
from fetaliqa.model.preprocess import Preprocessing
from fetaliqa.model.tensor_hashes import SHA256_PATTERN

CARD_SCHEMA = 1
ADAPTER_FILE = "adapter.safetensors"
HEAD_FILE = "head.safetensors"
BASE_FILE = "base.safetensors"
MAX_CARD_BYTES = 1 << 20  # a card has a few kilobytes


@dataclass(frozen=True)
class Threshold:
    """Thresholds: from probabilities to a mask, and from a mask to a positive frame.

    Attributes:
        probability: a pixel (or, for a classifier, a frame) is positive above this.
        min_foreground_fraction: a frame is positive when more than this share of the square grid is above the
            frame threshold.
        frame_probability: the frame threshold, if it differs from that of the outline. A high threshold classifies
            frames best, but makes outlines too small.
    """

    probability: float = 0.5
    min_foreground_fraction: float = 0.01  # FetalCLIP-IQA: 1 % of the image area
    frame_probability: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise ValueError(f"probability is {self.probability}; a value between 0 and 1 is needed")
        if self.frame_probability is not None and not 0 < self.frame_probability < 1:
            raise ValueError(
                f"frame_probability is {self.frame_probability}; a value between 0 and 1, or null, is needed"
            )
        if not 0 <= self.min_foreground_fraction < 1:
            raise ValueError(
                f"min_foreground_fraction is {self.min_foreground_fraction}; 0 up to, not including, 1 is accepted"
            )

    @property
    def frame(self) -> float:
        """The frame threshold: pixels above it count for a frame to be positive."""
        return self.probability if self.frame_probability is None else self.frame_probability

    def min_foreground_pixels(self, image_size: int = 224) -> int:
        """Least foreground pixels of a positive frame: 502 on a 224 x 224 grid at 1 %."""
        return math.floor(self.min_foreground_fraction * image_size**2) + 1


@dataclass(frozen=True)
class BaseReference:
    """The base encoder of a bundle.

    Attributes:
        kind: ``fetalclip`` (found on the user's machine by hash) or ``included`` (in the bundle).
        sha256: content hash of the encoder's tensors (``tensor_hashes.tensors_sha256``).
    """

    kind: Literal["fetalclip", "included"]
    sha256: str


@dataclass(frozen=True)
class TrainingData:
    """Training data of a model: a name, a hash of the exact data, a description."""

    name: str
    hash: str
    description: str

    @property
    def synthetic(self) -> bool:
        """Whether these are phantoms; figures of such a model must say so."""
        return "phantom" in self.name.lower()


@dataclass(frozen=True)
class BundleCard:
    """Contents of ``card.json``. ``files`` and ``base.sha256`` are filled in by ``save_bundle``."""

    name: str
    version: str
    task: Literal["segmentation", "classification"]
    architecture: Architecture
    lora: LoraSettings | None
    base: BaseReference
    anatomy: str
    training_data: TrainingData
    licence: str
    intended_use: str
    limitations: str
    metrics: dict[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    threshold: Threshold = field(default_factory=Threshold)
    created: str = ""
    files: dict[str, str] = field(default_factory=dict)
    schema: int = CARD_SCHEMA

    def __post_init__(self) -> None:
        for name in (self.name, self.version):
            if not valid_name(name):
                raise ValueError(f"{name!r} is not a usable name; letters, digits, '.', '_' and '-' are")
        if self.anatomy not in ANATOMIES:
            raise ValueError(f"anatomy {self.anatomy!r} is not known; known are {', '.join(sorted(ANATOMIES))}")
        if not isinstance(self.architecture.vision, VisionConfig):
            encoder = self.architecture.vision.name
            if self.lora is not None:
                raise ValueError(f"adapters in {encoder}, which has no transformer blocks")
            if self.base.kind != "included":
                raise ValueError(f"base {self.base.kind} of a {encoder}; it is included")
        if (self.task == "segmentation") != (self.architecture.decoder is not None):
            raise ValueError(f"a {self.task} card {'has no' if self.task == 'segmentation' else 'has a'} decoder")

    @property
    def expected_files(self) -> set[str]:
        """Names of the bundle's files besides the card."""
        names = {HEAD_FILE}
        if self.lora is not None:
            names.add(ADAPTER_FILE)
        if self.base.kind == "included":
            names.add(BASE_FILE)
        return names

    def check_trainable(self, name: str) -> None:
        """Check that this software can train the model.

        Raises:
            OptionError: (beginning with ``name``) when it was imported, and can only be used.
        """
        if isinstance(self.architecture.vision, NetworkConfig):
            raise OptionError(f"{name}: imported from a MONAI bundle; such models are used, not trained here")

    def to_json(self) -> dict[str, Any]:
        """The card as JSON values, the schema number first."""
        values = to_json(self)
        return {"schema": values.pop("schema"), **values}


def read_card(folder: Path) -> BundleCard:
    """Read and check the card of a bundle folder.

    Raises:
        BundleError: when it is missing, damaged, incomplete, or has another schema; the field is named.
    """
    return parse_card(read_card_file(folder, "a bundle card", "a model bundle"), str(Path(folder) / CARD_FILE))


def read_card_file(folder: Path, card: str, what: str) -> Any:
    """The parsed, unchecked JSON of a folder's card.

    Args:
        folder: the folder of the card.
        card: name of the card, for the error about a file that is too large.
        what: name of the folder's kind, for the error about a missing card.

    Raises:
        BundleError: when it is missing, damaged or too large.
    """
    file = Path(folder) / CARD_FILE
    try:
        if file.stat().st_size > MAX_CARD_BYTES:
            raise BundleError(f"{file}: larger than {MAX_CARD_BYTES} bytes; not {card}")
        return json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{folder}: no {CARD_FILE} in it, so it is not {what}") from None
    except (OSError, ValueError) as problem:
        raise BundleError(f"{file}: not a readable JSON file ({problem})") from None


def parse_card(value: Any, where: str) -> BundleCard:
    """Check parsed JSON and build the card from it; ``where`` begins the error message.

    Raises:
        BundleError: naming the first wrong field.
    """
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != CARD_SCHEMA or isinstance(schema, bool):
        raise BundleError(f"{where}: card schema {schema!r}; this version of FetalIQA reads schema {CARD_SCHEMA}")
    if isinstance(value.get("threshold"), dict):
        value["threshold"].setdefault("frame_probability", None)  # absent from cards of earlier versions
    card = from_json(BundleCard, value, where, BundleError)
    if set(card.files) != card.expected_files:
        raise BundleError(
            f"{where}: files are {', '.join(sorted(card.files)) or 'none'}; "
            f"{', '.join(sorted(card.expected_files))} are needed"
        )
    for name, sha256 in [*card.files.items(), ("base", card.base.sha256)]:
        if not (isinstance(sha256, str) and SHA256_PATTERN.fullmatch(sha256)):
            raise BundleError(f"{where}: the hash of {name} is {sha256!r}; 64 hex digits are needed")
    return card
