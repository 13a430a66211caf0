"""An assessment as the page needs it: figures by frame as lists, and masks as run lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fetaliqa.inference.case_result import AssessmentResult
from monailabel_app.lib.browser.case_summaries import best_frame
from monailabel_app.lib.browser.mask_runs import runs_of

FRAME_KEYS = (
    "ellipse",
    "circumference_mm",
    "circumference_absent",
    "circumference_interval_mm",
    "line",
    "length_mm",
    "length_absent",
    "warning",
    "expected_dice",
    "unlike_training_data",
    "area_px",
)


def assessed_case(result: AssessmentResult) -> dict[str, Any]:
    """The assessment, with the mask of every outlined frame (docs/server.md)."""
    record = result.assessment
    masks = {number: mask for number, mask in enumerate(result.mask_frames()) if mask is not None and mask.any()}
    return {
        "id": record["case_id"],
        "cached": result.cached,
        "model": record["model"],
        "spacing_mm": record["spacing_mm"],
        "best": best_frame(record),
        "warning": record.get("warning"),
        "measurement": record.get("measurement"),
        "growth": record.get("growth"),
        "ranking": record["ranking"],
        "notes": record["notes"],
        "sweeps": [[sweep["start"], sweep["stop"]] for sweep in record["sweeps"]],
        "sweep_bests": [sweep["best"] for sweep in record["sweeps"]],
        "quality": [_rounded(frame["quality"]) for frame in record["frames"]],
        "estimated": [frame["index"] for frame in record["frames"] if frame.get("interpolated")],
        "unlike_training_data": [
            frame["index"] for frame in record["frames"] if frame.get("unlike_training_data")
        ],
        "frames": {str(number): _frame(record["frames"][number], mask) for number, mask in masks.items()},
    }


def _frame(record: Mapping[str, Any], mask: Any) -> dict[str, Any]:
    known = {key: record[key] for key in FRAME_KEYS if record.get(key) is not None}
    return {**known, "mask": runs_of(mask)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
