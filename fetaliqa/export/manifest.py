"""The manifest: a table of the exported frames with files, labels and sizes in mm."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.export.export_case import ExportCase
from fetaliqa.labels.frame_record import MAX_SECONDS
from fetaliqa.measure import LineFit, fit_mask
from fetaliqa.measure.head_axes import head_axes

CSV_NAME = "manifest.csv"
PARQUET_NAME = "manifest.parquet"
TEXT, WHOLE, REAL, YES_NO = "text", "whole", "real", "yes/no"
COLUMNS = {
    "case_id": TEXT,
    "subject_id": TEXT,
    "part": TEXT,
    "sweep": WHOLE,
    "frame": WHOLE,
    "state": TEXT,
    "plane": TEXT,
    "outlined": YES_NO,
    "rater": TEXT,
    "time": TEXT,
    "model": TEXT,
    "model_version": TEXT,
    "origin": TEXT,
    "clicks": WHOLE,
    "source_frame": WHOLE,
    "quality": REAL,
    "rows": WHOLE,
    "columns": WHOLE,
    "row_spacing_mm": REAL,
    "column_spacing_mm": REAL,
    "area_px": WHOLE,
    "area_mm2": REAL,
    "circumference_mm": REAL,
    "circumference_low_mm": REAL,
    "circumference_high_mm": REAL,
    "bpd_mm": REAL,
    "ofd_mm": REAL,
    "circumference_absent": TEXT,
    "length_mm": REAL,
    "length_absent": TEXT,
    "warning": TEXT,
    "image": TEXT,
    "mask": TEXT,
    "slice": WHOLE,
}
"""Columns and what they hold. ``sweep`` and ``frame`` count from 0 in the source's stack; ``slice`` is the frame's
place in the files ``image`` and ``mask`` when they are stacks."""


@dataclass(frozen=True)
class Place:
    """Where a frame was written, paths relative to the export.

    Attributes:
        image, mask: files; None when the format has none.
        slice: index in them when they are stacks.
    """

    image: str | None
    mask: str | None = None
    slice: int | None = None


def measured(case: ExportCase, sector: np.ndarray, frame: int) -> dict[str, Any]:
    """Area and circumference or length of a frame's mask, by an ellipse or line fitted to that very mask."""
    mask = case.masks[frame]
    pixels = int(np.count_nonzero(mask))
    area = None if case.spacing is None else round(pixels * case.spacing[0] * case.spacing[1], 2)
    if not pixels:
        return {"area_px": 0, "area_mm2": None if area is None else 0.0}
    fit = fit_mask(mask, case.spacing, sector, case.anatomy)
    quantity = "length" if isinstance(fit, LineFit) else "circumference"
    low, high = case.entries[frame].interval_mm or (None, None)
    return {
        "area_px": pixels,
        "area_mm2": area,
        f"{quantity}_mm": None if fit.size_mm is None else round(fit.size_mm, 2),
        f"{quantity}_absent": fit.absent_reason,
        "circumference_low_mm": low,
        "circumference_high_mm": high,
        **({} if isinstance(fit, LineFit) else head_axes(fit.ellipse, case.spacing, case.anatomy)),
        "warning": case.entries[frame].warning or fit.warning(case.anatomy),
    }


def frame_row(case: ExportCase, frame: int, place: Place, part: str, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """A frame's row; an absent value is None."""
    entry = case.entries[frame]
    row, column = case.spacing or (None, None)
    values = {
        "case_id": case.case_id,
        "subject_id": case.subject_id,
        "part": part,
        "sweep": entry.sweep,
        "frame": frame,
        "state": entry.state,
        "plane": entry.plane,
        "outlined": entry.outlined,
        "rater": entry.rater,
        "time": _time(entry.time),
        "model": entry.model,
        "model_version": entry.model_version,
        "origin": entry.origin,
        "clicks": entry.clicks,
        "source_frame": entry.source_frame,
        "quality": entry.quality,
        "rows": case.frames.shape[1],
        "columns": case.frames.shape[2],
        "row_spacing_mm": row,
        "column_spacing_mm": column,
        "image": place.image,
        "mask": place.mask,
        "slice": place.slice,
        **sizes,
    }
    return {name: values.get(name) for name in COLUMNS}


def _time(value: str | float | None) -> str | None:
    if not isinstance(value, int | float):
        return value
    return datetime.fromtimestamp(value, UTC).isoformat() if value <= MAX_SECONDS else None


class ManifestWriter:
    """Writes rows as they come, so that memory does not grow with their number.

    Args:
        folder: of the export.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / CSV_NAME
        self._file = open(self.path, "w", newline="", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._writer = csv.DictWriter(self._file, fieldnames=list(COLUMNS), lineterminator="\n")
        self._writer.writeheader()

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows."""
        for row in rows:
            shown = {key: str(value).lower() if isinstance(value, bool) else value for key, value in row.items()}
            self._writer.writerow(shown)

    def close(self) -> None:
        """Finish the file; may be called again."""
        self._file.close()


def write_parquet(folder: Path) -> None:
    """Write the table once more as Parquet, with types.

    Raises:
        ImportError: without pyarrow, which the extra ``export`` brings.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    kinds = {TEXT: pa.string(), WHOLE: pa.int64(), REAL: pa.float64(), YES_NO: pa.bool_()}
    options = pa_csv.ConvertOptions(
        column_types={name: kinds[kind] for name, kind in COLUMNS.items()}, strings_can_be_null=True
    )
    with (
        pa_csv.open_csv(folder / CSV_NAME, convert_options=options) as batches,
        pq.ParquetWriter(folder / PARQUET_NAME, batches.schema) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)
