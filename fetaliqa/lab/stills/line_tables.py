"""Tables of lines for still images: the femurs of this package, and the calipers that lie beside the images.

``outlines/african_femur_lines.csv`` has one line for each femur, drawn for this project by one reader who is no
clinician: columns ``file, sha256, x1, y1, x2, y2, confidence, calipers, source, note`` in native pixels (centre of
the first pixel is 0, 0). The ends are those of the ossified shaft. Where a sonographer's calipers are burned into
the image, the line is theirs (``source`` is ``burned_in``). ``african_femur_second_reading.csv`` has the second
reading of some of them by the same reader.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from fetaliqa.errors import SweepError
from fetaliqa.lab.stills.drawn_tables import DrawnRow, rows_of, texts_of
from fetaliqa.measure import Line

NEEDED = ("file", "x1", "y1", "x2", "y2")
CALIPERS = ("image_name", "fl_1_x", "fl_1_y", "fl_2_x", "fl_2_y", "px_to_mm_rate", "Algo")
# Their pixel size is another in each image of this scanner, and circumferences by it are implausible; see
# docs/real-images.md.
NO_PIXEL_SIZE = "AlokaFit"


@dataclass(frozen=True)
class LineRow(DrawnRow):
    """One row of a table of lines."""

    line: Line
    pixel_mm: float | None = None


def line_table(path: Path) -> dict[str, LineRow]:
    """Rows by file name; empty when there is no such table.

    Raises:
        SweepError: when a column is missing or a value is no number.
    """
    return {row["file"]: _row(path, row, "file", NEEDED[1:]) for row in _rows(path, NEEDED)}


def caliper_table(path: Path) -> dict[str, LineRow]:
    """Calipers of femurs by file name, with the pixel size where it can be relied on; empty without a table.

    The columns are those of the Multicentre fetal biometry annotations.

    Raises:
        SweepError: when a column is missing or a value is no number.
    """
    rows = [row for row in _rows(path, CALIPERS) if (row["fl_1_x"] or "").strip()]
    return {row["image_name"]: _row(path, row, "image_name", CALIPERS[1:5]) for row in rows}


def _rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    return [row for _, row in rows_of(path, needed)] if path.is_file() else []


def _row(path: Path, row: dict[str, str], name: str, columns: tuple[str, ...]) -> LineRow:
    try:
        values = [float(row[column]) for column in columns]
        rate = float(row.get("px_to_mm_rate") or "nan")
    except (TypeError, ValueError):
        raise SweepError(f"{path.name}: {row[name]} needs four numbers for its line") from None
    line = Line.between(values[:2], values[2:])
    if not all(map(math.isfinite, values)) or line.length == 0:
        raise SweepError(f"{path.name}: the line of {row[name]} has no length")
    pixel_mm = rate if math.isfinite(rate) and row.get("Algo") != NO_PIXEL_SIZE else None
    return LineRow(line, pixel_mm=pixel_mm, **texts_of(row))
