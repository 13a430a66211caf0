"""Where a frame of a case is in DICOM: in a cine, or in one of several images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset


@dataclass(frozen=True)
class FrameOfImage:
    """A frame of a DICOM image.

    Attributes:
        image: header of the image.
        number: of the frame, from 1; None where the image is a single frame.
    """

    image: Dataset
    number: int | None = None

    @classmethod
    def of(cls, image: Dataset, frame: int) -> FrameOfImage:
        """Frame ``frame`` (from 0) of an image; a single-frame image has no frame numbers."""
        return cls(image, frame + 1 if image.get("NumberOfFrames") not in (None, "") else None)

    @classmethod
    def among(cls, images: Sequence[Dataset], frame: int) -> FrameOfImage:
        """Frame ``frame`` (from 0) of a case: of its cine, or of its images of one frame each."""
        return cls.of(images[0], frame) if len(images) == 1 else cls.of(images[frame], 0)
