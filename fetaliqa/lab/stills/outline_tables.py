"""Tables of ellipses for still images: those of this package, and those that lie beside the images.

Columns ``file, cx, cy, semi_a, semi_b, angle_deg`` in native pixels (centre of the first pixel is 0, 0), the angle
of ``semi_a`` in degrees from columns towards rows. Optional columns: ``sha256`` (of the file, or of its decoded
pixels as in ``Still``), ``confidence`` (sure, fair, doubtful), ``calipers`` (yes or no) and ``source``.

``outlines/african.csv`` and ``outlines/spanish.csv`` hold outlines drawn for this project by readers who are no
clinicians. ``outlines/african_burned_in.csv`` has the dotted ellipses that are burned into images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from fetaliqa.errors import SweepError
from fetaliqa.lab.stills.drawn_tables import DrawnRow, rows_of, texts_of
from fetaliqa.measure import Ellipse

PACKAGED = Path(__file__).parent / "outlines"
NEEDED = ("file", "cx", "cy", "semi_a", "semi_b", "angle_deg")


@dataclass(frozen=True)
class OutlineRow(DrawnRow):
    """One row of a table of ellipses."""

    ellipse: Ellipse


def outline_table(*candidates: Path) -> dict[str, OutlineRow]:
    """Rows by file name of the first of some tables that exists; empty when none does.

    Raises:
        SweepError: when a column is missing or a value is no number.
    """
    path = next((one for one in candidates if one.is_file()), None)
    if path is None:
        return {}
    return {row["file"]: _row(path, line, row) for line, row in rows_of(path, NEEDED)}


def _row(path: Path, line: int, row: dict[str, str]) -> OutlineRow:
    try:
        x, y, a, b, angle = (float(row[name]) for name in NEEDED[1:])
    except (TypeError, ValueError):
        raise SweepError(f"{path.name}, line {line}: {row['file']} needs five numbers for its ellipse") from None
    if not all(map(math.isfinite, (x, y, a, b, angle))) or min(a, b) <= 0:
        raise SweepError(f"{path.name}, line {line}: semi-axes {a} and {b}; both must be positive")
    if b > a:
        a, b, angle = b, a, angle + 90.0
    return OutlineRow(Ellipse(x, y, a, b, angle % 180.0), **texts_of(row))
