"""Requests of assessments: what one depends on, and the key of its cached result. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fetaliqa import __version__
from fetaliqa.inference.assessment import ASSESSMENT_REVISION, ASSESSMENT_SCHEMA
from fetaliqa.inference.assessment_cache import cache_key
from fetaliqa.inference.assessment_options import AssessOptions

if TYPE_CHECKING:
    from fetaliqa.inference.student import Student


@dataclass(frozen=True)
class AssessmentRequest:
    """Options and student of one request, fixed at its start, so that its result is cached under the right key.

    Attributes:
        options: of the assessment.
        student: screening model, or None.
        made_with: all that the assessment depends on besides the sweep, see :meth:`AssessmentService.made_with`.
    """

    options: AssessOptions
    student: Student | None
    made_with: dict[str, Any]

    def key(self, content_hash: str) -> str:
        """Key of the assessment in the cache."""
        how = self.made_with
        computed = (how["schema"], how["revision"], how["version"], how["device"], how["precision"])
        screened = (how["student"],) if "student" in how else ()
        computed += (how["runtime"],) if "runtime" in how else ()
        model = (how["model"], how["interval"], how["classifier"])
        return cache_key(*computed, content_hash, *model, how["options"], *screened)


def common_made_with(
    model: str,
    options: AssessOptions,
    device: str,
    precision: str,
    interval: str | None,
    runtime: str | None = None,
) -> dict[str, Any]:
    """What assessments by every runtime depend on besides the sweep, as JSON values.

    Args:
        model: fingerprint of the model.
        options: of the assessment.
        device: ``cpu`` or ``cuda``; a GPU rounds differently.
        precision: of the encoder.
        interval: hash of the calibration of the model's intervals; None without one.
        runtime: named where it is not torch, so that results of earlier versions stay valid.
    """
    made_with: dict[str, Any] = {
        "schema": ASSESSMENT_SCHEMA,
        "revision": ASSESSMENT_REVISION,
        "version": __version__,  # measurements may differ between versions
        "device": device,
        "precision": precision,
        "model": model,
        "classifier": None,
        "interval": interval,
        "options": options.as_dict(),
    }
    return made_with if runtime is None else made_with | {"runtime": runtime}
