"""An assessment as one row of a table of cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fetaliqa.measure.frame_size import recorded_absence, recorded_mm


def summary_row(record: dict[str, Any]) -> dict[str, Any]:
    """One row of summary.csv, from an assessment."""
    best = record["frames"][record["best"]] if record["best"] is not None else {}
    return {
        "case": record["case_id"],
        "frames": sum(not frame["padding"] for frame in record["frames"]),
        "sweeps": len(record["sweeps"]),
        "looked_at": sum(frame["positive"] is not None for frame in record["frames"]),
        "positive": sum(bool(frame["positive"]) for frame in record["frames"]),
        "best_frame": record["best"],
        "best_sweep": best.get("sweep"),
        "quality": best.get("quality"),
        f"{record['model']['measurement'].lower()}_mm": recorded_mm(best),
        "expected_dice": best.get("expected_dice"),
        "distance": best.get("distance"),
        "note": record["reason"] or remark(best),
    }


def remark(frame: Mapping[str, Any]) -> str:
    """Remark on a ranked frame: why it has no circumference or length, and its warning."""
    return "; ".join(text for text in (recorded_absence(frame), frame.get("warning")) if text)


def summary_columns(measurement: str) -> list[str]:
    """Of summary.csv, for a model that measures ``AC``, ``HC`` or ``FL``."""
    first = ["case", "frames", "sweeps", "looked_at", "positive", "best_frame", "best_sweep", "quality"]
    return [*first, f"{measurement.lower()}_mm", "expected_dice", "distance", "note"]
