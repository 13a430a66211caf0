"""Measured and reference circumferences of labelled cases: what intervals are calibrated and tested on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fetaliqa.datasets.labelled_data import LabelledCase
from fetaliqa.inference.assessment import assess
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.inference.predictor import Predictor
from fetaliqa.measure import Ellipse, ellipse_circumference, fit_outline
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.sweep import sweep_from_array

KEPT = (
    "quality",
    "expected_dice",
    "distance",
    "unlike_training_data",
    "fit_residual",
    "fitted_share",
    "border_band",
    "circumference_mm",
    "sweep",
)


@dataclass(frozen=True)
class IntervalRow:
    """One labelled case, assessed.

    Attributes:
        case_id, subject_id: of the case.
        ranges: half-open frame range of each sweep.
        quality: of every frame; None where not assessed.
        frames: fields of the record of each outlined frame, by frame number, and two more: ``measured`` and
            ``reference``, circumferences in mm (in pixels without a spacing); the latter None of frames without a
            reference outline.
        sweep_references: reference circumference in mm of each sweep; None without one.
    """

    case_id: str
    subject_id: str
    ranges: tuple[tuple[int, int], ...]
    quality: tuple[float | None, ...]
    frames: Mapping[int, Mapping[str, Any]]
    sweep_references: tuple[float | None, ...]

    def to_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        return {
            "case_id": self.case_id,
            "subject_id": self.subject_id,
            "ranges": [list(part) for part in self.ranges],
            "quality": list(self.quality),
            "frames": {str(frame): dict(values) for frame, values in self.frames.items()},
            "sweep_references": list(self.sweep_references),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> IntervalRow:
        """Of :meth:`to_json`."""
        return cls(
            values["case_id"],
            values["subject_id"],
            tuple((int(start), int(stop)) for start, stop in values["ranges"]),
            tuple(values["quality"]),
            {int(frame): fields for frame, fields in values["frames"].items()},
            tuple(values["sweep_references"]),
        )


def interval_row(case: LabelledCase, predictor: Predictor, options: AssessOptions | None = None) -> IntervalRow:
    """Assess a case as ``fetaliqa score`` does, and keep what its intervals depend on.

    Args:
        case: with reference outlines, and reference circumferences of its sweeps if it has several frames.
        predictor: a segmentation model.
        options: of the assessment; None for all frames.
    """
    sweep = sweep_from_array(case.frames, case.spacing, sweeps=case.ranges, case_id=case.case_id)
    record = assess(sweep, predictor, options).record
    sector = field_of_view(case.frames)
    outlined = case.masks.reshape(len(case.masks), -1).any(axis=1) & case.known
    frames = {}
    for number, fields in enumerate(record["frames"]):
        if not fields["positive"] or fields.get("ellipse") is None:
            continue
        kept: dict[str, Any] = {name: fields.get(name) for name in KEPT}
        kept["measured"] = fields["circumference_mm"] or _around(Ellipse(**fields["ellipse"]))
        kept["reference"] = _reference(case, number, sector) if outlined[number] else None
        frames[number] = kept
    quality = tuple(fields["quality"] for fields in record["frames"])
    references = tuple(case.circumferences_mm)
    return IntervalRow(case.case_id, case.subject_id, tuple(case.ranges), quality, frames, references)


def _reference(case: LabelledCase, frame: int, sector: np.ndarray) -> float | None:
    """Circumference of a reference outline, in mm; in pixels without a spacing."""
    start = next(number for number, (low, high) in enumerate(case.ranges) if low <= frame < high)
    if len(case.frames) == 1 and (given := case.circumferences_mm[start]) is not None:
        return given
    fit = fit_outline(case.masks[frame], case.spacing, sector)
    if fit.ellipse is None:
        return None
    return fit.circumference_mm or _around(fit.ellipse)


def _around(ellipse: Ellipse) -> float:
    return ellipse_circumference(ellipse.semi_major, ellipse.semi_minor)
