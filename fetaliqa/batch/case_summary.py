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
    } | _case_columns(record)


def _case_columns(record: dict[str, Any]) -> dict[str, Any]:
    """Columns of the case's measurement and growth; empty where there is none."""
    measurement, growth = record.get("measurement") or {}, record.get("growth") or {}
    low, high = measurement.get("interval_mm") or (None, None)
    given, age, centile, weight = (growth.get(name) or {} for name in ("given_age", "age", "centile", "weight"))
    return {
        "measurement": measurement.get("name"),
        "case_mm": measurement.get("mm"),
        "case_low_mm": low,
        "case_high_mm": high,
        "coverage": measurement.get("coverage"),
        "bpd_mm": measurement.get("bpd_mm"),
        "ofd_mm": measurement.get("ofd_mm"),
        "measured_frames": " ".join(map(str, measurement.get("frames", ()))),
        "interval_absent": measurement.get("interval_absent"),
        "given_age_days": given.get("days"),
        "given_age_source": given.get("source"),
        "age_days": age.get("days"),
        "age_formula": age.get("formula"),
        "centile": centile.get("percent"),
        "z_score": centile.get("z"),
        "centile_formula": centile.get("formula"),
        "weight_g": weight.get("grams"),
        "weight_formula": weight.get("formula"),
        "growth_notes": "; ".join(growth.get("notes", ())),
    }


CASE_COLUMNS = (
    "measurement",
    "case_mm",
    "case_low_mm",
    "case_high_mm",
    "coverage",
    "bpd_mm",
    "ofd_mm",
    "measured_frames",
    "interval_absent",
    "given_age_days",
    "given_age_source",
    "age_days",
    "age_formula",
    "centile",
    "z_score",
    "centile_formula",
    "weight_g",
    "weight_formula",
    "growth_notes",
)


def remark(frame: Mapping[str, Any]) -> str:
    """Remark on a ranked frame: why it has no circumference or length, and its warning."""
    return "; ".join(text for text in (recorded_absence(frame), frame.get("warning")) if text)


def summary_columns(measurement: str) -> list[str]:
    """Of summary.csv, for a model that measures ``AC``, ``HC`` or ``FL``."""
    first = ["case", "frames", "sweeps", "looked_at", "positive", "best_frame", "best_sweep", "quality"]
    return [*first, f"{measurement.lower()}_mm", "expected_dice", "distance", "note", *CASE_COLUMNS]
