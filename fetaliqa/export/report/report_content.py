"""What a measurement report says, before it is written as DICOM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from fetaliqa.errors import SweepError
from fetaliqa.export.dicom_review_state import Algorithm
from fetaliqa.export.frame_of_image import FrameOfImage
from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.ellipse import Ellipse

AXES = ("BPD", "OFD")  # further lengths of the ellipse of a head
NEEDED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


def name_of(place: FrameOfImage, frame: int) -> str:
    """How text names a frame, counted from 1 as DICOM does: within the image, or among the images of a case.

    Args:
        place: where it is.
        frame: its number in the case, from 0.
    """
    return f"image {frame + 1}" if place.number is None else f"image frame {place.number}"


@dataclass(frozen=True, eq=False)
class OutlinedFrame:
    """An outlined frame.

    Attributes:
        name: how text names it, see :func:`name_of`.
        place: the frame that the outline lies on.
        mask: [H, W], non-zero inside.
        ellipse: fitted to the outline, in pixels; None where none fits.
        line: ends of a line that was fitted to it (femur), float [2, 2] as (x, y) in pixels; None without one.
        size_mm: circumference of the ellipse, or length of the line; None without one or without pixel spacing.
        interval_mm: lower and upper end of the interval around it; None without one.
        area_mm2: of the mask; None without pixel spacing.
        axes_mm: further lengths of the ellipse in mm: ``BPD`` and ``OFD`` of a head.
        remarks: sentences: its number in the case, why something is absent, and warnings.
        algorithm: how it was drawn.
    """

    name: str
    place: FrameOfImage
    mask: np.ndarray
    ellipse: Ellipse | None = None
    line: np.ndarray | None = None
    size_mm: float | None = None
    interval_mm: tuple[float, float] | None = None
    area_mm2: float | None = None
    axes_mm: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    algorithm: Algorithm = field(default_factory=Algorithm)


@dataclass(frozen=True, eq=False)
class ReportContent:
    """A report on one case.

    Attributes:
        anatomy: what is outlined.
        frames: outlined frames, at least one.
        measurement, growth: fields of an assessment's record (docs/assessment.md); None where there are none.
        measured: of ``frames``, those that the measurement was taken from.
        raters: who drew or confirmed the outlines; nobody: a model.
        notes: sentences on the whole report.
    """

    anatomy: Anatomy
    frames: Sequence[OutlinedFrame]
    measurement: Mapping[str, Any] | None = None
    growth: Mapping[str, Any] | None = None
    measured: Sequence[OutlinedFrame] = ()
    raters: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def confirmed(self) -> bool:
        """Whether a person confirmed all outlines."""
        return all(one.algorithm.confirmed for one in self.frames)


def axes_of(fields: Mapping[str, Any]) -> dict[str, float]:
    """BPD and OFD in mm, of a frame of a record, or of its ``measurement``."""
    known = {name: fields.get(f"{name.lower()}_mm") for name in AXES}
    return {name: float(value) for name, value in known.items() if value is not None}


def check_reportable(image: Dataset, name: str) -> None:
    """Check that a report on an image can be filed: the header names a patient, and identifies the image.

    Args:
        image: header of the image.
        name: of its file, for the message.

    Raises:
        SweepError: naming what is missing.
    """
    if not str(image.get("PatientID") or "").strip() and not str(image.get("PatientName") or "").strip("^ "):
        raise SweepError(
            f"{name}: the header names no patient (Patient ID and Patient's Name are empty), so a report could "
            "not be filed; write the patient into the file, or leave out --format sr"
        )
    missing = [keyword for keyword in NEEDED if not image.get(keyword)]
    if missing:
        raise SweepError(
            f"{name}: the header lacks {', '.join(missing)}, which a report refers to; export it again"
        )
