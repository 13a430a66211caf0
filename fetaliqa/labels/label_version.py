"""One version of a label, and which image it belongs to."""

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
    """What a reviewer said of a version: ``accepted``, or ``returned`` with a comment."""

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
        record: what is said of each frame; None when the writer said nothing, as clients do that know no records.
        info: whatever else was saved with it, as JSON values.
        image: SHA-256 (hex) of the pixels that were labelled, see ``pixels_sha256``; None when not said.
        based_on: version that the writer had before them; None when they did not say.
        restored_from: version that this one repeats.
        removed: whether the label ends here.
        reviews: what reviewers said of it, the first one first.
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
        """Whether a reviewer sent it back, and has not accepted it since: nothing of it counts then."""
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
