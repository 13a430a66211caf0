"""The measurement report of labels: outlines that people confirmed, and in exports also proposed ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from fetaliqa.export.dicom_review_state import Algorithm
from fetaliqa.export.frame_of_image import FrameOfImage
from fetaliqa.export.report.report_content import OutlinedFrame, ReportContent, axes_of, name_of
from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.case_growth import case_growth
from fetaliqa.measure.case_measurement import weighted_median
from fetaliqa.measure.frame_size import fit_mask
from fetaliqa.measure.head_axes import head_axes
from fetaliqa.measure.line import LineFit
from fetaliqa.sweep.dicom_spacing import read_calibration

SUBOPTIMAL = "suboptimal"
Growth = Callable[[Mapping[str, Any] | None], dict[str, Any] | None]


@dataclass(frozen=True)
class LabelledFrame:
    """A label of a frame.

    Attributes:
        name: how the case's files name the frame, such as ``frame 61 of case_a, counted from 0``.
        rater: who confirmed it; None when not known, or nobody did.
        plane: ``optimal``, ``suboptimal`` or None.
        algorithm: how it was drawn.
        warning: what speaks against it, or None.
    """

    name: str
    rater: str | None = None
    plane: str | None = None
    algorithm: Algorithm = field(default_factory=Algorithm)
    warning: str | None = None


def labelled_content(
    image: Dataset,
    masks: np.ndarray,
    labels: Mapping[int, LabelledFrame],
    anatomy: Anatomy,
    sector: np.ndarray | None = None,
    growth: Growth | None = None,
) -> ReportContent | None:
    """What a report says about labels; None when none of them has an outline.

    The measurement is the median of the confirmed frames, without those on suboptimal planes if there are others.

    Args:
        image: header of the image that the masks lie on.
        masks: uint8 [T, H, W], T frames of the image, non-zero inside.
        labels: labels of frames of the image, by number from 0.
        anatomy: what is outlined.
        sector: [H, W], positive inside the field of view; None: the whole image.
        growth: gives the record's ``growth`` of a measurement; None: no age is known from elsewhere.
    """
    spacing = read_calibration(image).spacing
    drawn = {frame: label for frame, label in sorted(labels.items()) if masks[frame].any()}
    outlined = {
        frame: _outlined(image, masks[frame], frame, label, anatomy, spacing, sector)
        for frame, label in drawn.items()
    }
    if not outlined:
        return None
    counted = _counted(drawn, outlined)
    measurement = _measurement(anatomy, [outlined[frame] for frame in counted], counted)
    return ReportContent(
        anatomy=anatomy,
        frames=list(outlined.values()),
        measurement=measurement,
        growth=case_growth(measurement, None) if growth is None else growth(measurement),
        measured=[outlined[frame] for frame in counted],
        raters=sorted({label.rater for label in drawn.values() if label.rater}),
        notes=_notes(anatomy, len(counted)),
    )


def _outlined(
    image: Dataset,
    mask: np.ndarray,
    frame: int,
    label: LabelledFrame,
    anatomy: Anatomy,
    spacing: tuple[float, float] | None,
    sector: np.ndarray | None,
) -> OutlinedFrame:
    fit = fit_mask(mask, spacing, sector, anatomy)
    ellipse, line = (None, fit.line) if isinstance(fit, LineFit) else (fit.ellipse, None)
    by = f"confirmed by {label.rater}" if label.rater else None
    plane = f"{label.plane} plane" if label.plane else None
    remarks = (label.name, by, plane, fit.absent_reason, label.warning or fit.warning(anatomy))
    pixels = int(np.count_nonzero(mask))
    place = FrameOfImage.of(image, frame)
    return OutlinedFrame(
        name=name_of(place, frame),
        place=place,
        mask=mask,
        ellipse=ellipse,
        line=None if line is None else np.array([[line.x1, line.y1], [line.x2, line.y2]]),
        size_mm=None if fit.size_mm is None else round(fit.size_mm, 2),
        axes_mm=axes_of(head_axes(ellipse, spacing, anatomy)),
        area_mm2=None if spacing is None else round(pixels * spacing[0] * spacing[1], 2),
        remarks=tuple(text for text in remarks if text),
        algorithm=label.algorithm,
    )


def _counted(labels: Mapping[int, LabelledFrame], outlined: Mapping[int, OutlinedFrame]) -> list[int]:
    """Confirmed frames with a circumference or length, without those on suboptimal planes if there are others."""
    measured = [frame for frame, one in outlined.items() if one.size_mm is not None and one.algorithm.confirmed]
    return [frame for frame in measured if labels[frame].plane != SUBOPTIMAL] or measured


def _measurement(
    anatomy: Anatomy, frames: Sequence[OutlinedFrame], numbers: Sequence[int]
) -> dict[str, Any] | None:
    if not frames:
        return None
    values = [float(frame.size_mm or 0.0) for frame in frames]
    axes = {f"{axis.lower()}_mm": _median([one.axes_mm[axis] for one in frames]) for axis in frames[0].axes_mm}
    return {
        "name": anatomy.measurement,
        "mm": _median(values),
        **axes,
        "interval_mm": None,
        "coverage": None,
        "frames": list(numbers),
        "interval_absent": None,
    }


def _median(values: Sequence[float]) -> float:
    return round(weighted_median(values, [1.0] * len(values)), 2)


def _notes(anatomy: Anatomy, count: int) -> tuple[str, ...]:
    return (f"{anatomy.measurement} of the case: median of {count} confirmed frames.",) if count > 1 else ()
