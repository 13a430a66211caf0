"""A real still image and its metadata."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from fetaliqa.errors import NotFoundError, SweepError
from fetaliqa.measure import Ellipse, Line

Plane = Literal["abdomen", "femur", "thorax", "brain", "head", "other", "phantom"]

CC_BY = "CC BY 4.0"
CC_BY_NC_SA = "CC BY-NC-SA 4.0"
THUMBNAIL_SIDE = 32  # pixels; enough to distinguish scans, and small enough to compare all pairs


@dataclass(frozen=True)
class Still:
    """A still image.

    Attributes:
        file: the picture.
        sha256: of its decoded grey pixels and their shape, so that the same pixels in another file are the same.
        shape: (rows, columns).
        patient: who was scanned, ``source/number``; images of one patient never part in a split.
        source: the data set: hc18, african, spanish, natalia or acouslic.
        centre: country or centre.
        plane: what it shows; ``head`` is HC18's plane, ``brain`` FETAL_PLANES_DB's.
        licence: of the image.
        trainable: whether a model that ships may learn from it (CC BY: yes; NC-SA: evaluation only).
        ellipse: outline of the abdomen or head in native pixels; None without one.
        outliner: who drew it.
        confidence: the outliner's own grade: sure, fair or doubtful; None where ungraded.
        caliper_ellipse: ellipse through an expert's calipers (CC BY-NC-SA: evaluation only).
        line: of the femur in native pixels; None without one.
        caliper_line: through an expert's calipers (CC BY-NC-SA: evaluation only).
        mask_file: an expert's mask (evaluation only).
        pixel_mm: pixel size in mm; None when unknown.
        circumference_mm: the reference table's circumference; None without one.
        burned_in: whether calipers, text or a dotted ellipse are drawn into the image.
        burned_in_ellipse: position of a burned-in dotted ellipse, which need not be the outline.
        also: names of further files with the same pixels.
    """

    file: Path
    sha256: str
    shape: tuple[int, int]
    patient: str
    source: str
    centre: str
    plane: Plane
    licence: str
    trainable: bool
    ellipse: Ellipse | None = None
    outliner: str | None = None
    confidence: str | None = None
    caliper_ellipse: Ellipse | None = None
    line: Line | None = None
    caliper_line: Line | None = None
    mask_file: Path | None = None
    pixel_mm: float | None = None
    circumference_mm: float | None = None
    burned_in: bool = False
    burned_in_ellipse: Ellipse | None = None
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """File name without suffix."""
        return self.file.stem


@dataclass(frozen=True, eq=False)
class Picture:
    """Properties of a picture for the catalogue.

    Attributes:
        shape: (rows, columns).
        sha256: of the grey pixels and their shape.
        file_sha256: of the file.
        thumbnail: float32 [1024] of zero mean and unit length (all zeros for a flat picture): the dot product of
            two is their correlation.
    """

    shape: tuple[int, int]
    sha256: str
    file_sha256: str
    thumbnail: np.ndarray


def read_grey(path: Path) -> np.ndarray:
    """A picture's grey levels, uint8 [H, W].

    Raises:
        NotFoundError: when there is no such file.
        SweepError: when it is not a readable picture.
    """
    return _decoded(path, _content(path))


def read_picture(path: Path) -> Picture:
    """Hashes and thumbnail of a picture; raises as ``read_grey``."""
    content = _content(path)
    grey = _decoded(path, content)
    small = cv2.resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    centred = (small - small.mean()).ravel()
    length = float(np.linalg.norm(centred))
    pixels = hashlib.sha256(f"{grey.shape[0]}x{grey.shape[1]}|".encode() + grey.tobytes()).hexdigest()
    return Picture(
        (grey.shape[0], grey.shape[1]),
        pixels,
        hashlib.sha256(content).hexdigest(),
        centred / length if length > 0 else centred,
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path.name}: no such file in {path.parent.name}") from None


def _decoded(path: Path, content: bytes) -> np.ndarray:
    # not by imread, which takes no name that is not UTF-8 (and on Windows none that is not ASCII)
    grey = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
    if grey is None:
        raise SweepError(f"{path.name}: not a readable picture; copy the data set again")
    return grey
