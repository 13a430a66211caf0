"""A label version: masks, frame record, reviews, and the hash of the labelled pixels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fetaliqa.labels.frame_record import FrameRecord

if TYPE_CHECKING:
    from fetaliqa.sweep import Sweep


@dataclass(frozen=True)
class Review:
    """A review of a version: ``accepted``, or ``returned`` (changes requested) with a comment."""

    state: str
    reviewer: str
    time: str
    comment: str = ""


@dataclass(frozen=True)
class LabelVersion:
    """One version of a label.

    Attributes:
        case, tag, version: which one; versions count from 1.
        saved: when, ISO 8601.
        mask: its mask stack; None when there is none (every frame is empty, or the label was removed).
        mask_sha256: of that file, hex.
        record: frame record; None from clients that send none.
        info: further metadata, as JSON values.
        image: SHA-256 (hex) of the pixels that were labelled, see ``pixels_sha256``; None when not known.
        based_on: version that the writer edited; None when not known.
        restored_from: version that this one repeats.
        removed: whether the label ends here.
        reviews: in the order they were made.
    """

    case: str
    tag: str
    version: int
    saved: str
    mask: Path | None
    mask_sha256: str | None
    record: FrameRecord | None
    info: Mapping[str, Any] = field(default_factory=dict)
    image: str | None = None
    based_on: int | None = None
    restored_from: int | None = None
    removed: bool = False
    reviews: tuple[Review, ...] = ()

    @property
    def review(self) -> Review | None:
        """The last review."""
        return self.reviews[-1] if self.reviews else None

    @property
    def returned(self) -> bool:
        """Whether changes were requested and it was not accepted since; such a label does not train."""
        return self.review is not None and self.review.state == "returned"

    def masks(self, sweep: Sweep) -> np.ndarray:
        """Its masks, uint8 [T, H, W], on the grid of its sweep; all 0 without a mask file.

        Raises:
            SweepError: when the file is damaged, or has another size or orientation than the sweep.
        """
        if self.mask is None:
            return np.zeros(sweep.shape, np.uint8)
        from fetaliqa.sweep import read_masks  # which takes SimpleITK

        return read_masks(self.mask, sweep, by_size=True)

    def summary(self) -> dict[str, Any]:
        """What a list of versions shows, as JSON values; ``frames`` counts them by state."""
        frames = None
        if self.record is not None:
            frames = dict(Counter(label.state for label in self.record.frames.values()))
        return {
            "case": self.case,
            "tag": self.tag,
            "version": self.version,
            "saved": self.saved,
            "user": self.info.get("user"),
            "based_on": self.based_on,
            "restored_from": self.restored_from,
            "removed": self.removed,
            "frames": frames,
            "reviews": [asdict(review) for review in self.reviews],
        }


def pixels_sha256(frames: np.ndarray) -> str:
    """SHA-256 (hex) of decoded frames, uint8 [T, H, W], and their shape: which image a label belongs to.

    Of pixels, not of a file: a label stays valid when its image is compressed, converted or given a pixel spacing.
    """
    digest = hashlib.sha256(repr(frames.shape).encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.hexdigest()
