"""An assessment in one row: what a list of cases says of each."""

from __future__ import annotations

from typing import Any


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
        f"{record['model']['measurement'].lower()}_mm": best.get("circumference_mm"),
        "note": record["reason"] or best.get("circumference_absent") or best.get("warning") or "",
    }


def summary_columns(measurement: str) -> list[str]:
    """Of summary.csv, for a model that measures ``AC`` or ``HC``."""
    first = ["case", "frames", "sweeps", "looked_at", "positive", "best_frame", "best_sweep", "quality"]
    return [*first, f"{measurement.lower()}_mm", "note"]
