"""Tables of ellipses for still images: those of this package, and those that lie beside the images.

Columns ``file, cx, cy, semi_a, semi_b, angle_deg`` in native pixels (centre of the first pixel is 0, 0), the angle
of ``semi_a`` in degrees from columns towards rows. Optional columns: ``sha256`` (of the file, or of its decoded
pixels as in ``Still``), ``confidence`` (sure, fair, doubtful), ``calipers`` (yes or no) and ``source``.

``outlines/african.csv`` and ``outlines/spanish.csv`` hold outlines drawn for this project by readers who are no
clinicians. ``outlines/african_burned_in.csv`` has the dotted ellipses that are burned into images.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fetaliqa.datasets.csv_text import csv_text
from fetaliqa.errors import SweepError
from fetaliqa.lab.stills.still_image import Picture
from fetaliqa.measure import Ellipse

PACKAGED = Path(__file__).parent / "outlines"
NEEDED = ("file", "cx", "cy", "semi_a", "semi_b", "angle_deg")


@dataclass(frozen=True)
class OutlineRow:
    """One row of a table of ellipses; the texts are empty where the table does not say."""

    ellipse: Ellipse
    sha256: str = ""
    confidence: str = ""
    calipers: str = ""
    source: str = ""

    def fits(self, picture: Picture) -> bool:
        """Whether the row was drawn on this picture: a file of the same name may hold another image."""
        return not self.sha256 or self.sha256 in (picture.sha256, picture.file_sha256)


def outline_table(*candidates: Path) -> dict[str, OutlineRow]:
    """Rows by file name of the first of some tables that exists; empty when none does.

    Raises:
        SweepError: when a column is missing or a value is no number.
    """
    path = next((one for one in candidates if one.is_file()), None)
    if path is None:
        return {}
    with csv_text(path) as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in NEEDED if name not in (reader.fieldnames or [])]
        if missing:
            raise SweepError(f"{path.name}: no column {', '.join(missing)}; needed are {', '.join(NEEDED)}")
        return {row["file"]: _row(path, reader.line_num, row) for row in reader}


def fitting_row(picture: Picture, name: str, *tables: Mapping[str, OutlineRow]) -> OutlineRow | None:
    """The row of a file in the first of some tables where it was drawn on this picture, if any."""
    rows = (table.get(name) for table in tables)
    return next((row for row in rows if row is not None and row.fits(picture)), None)


def _row(path: Path, line: int, row: dict[str, str]) -> OutlineRow:
    try:
        x, y, a, b, angle = (float(row[name]) for name in NEEDED[1:])
    except (TypeError, ValueError):
        raise SweepError(f"{path.name}, line {line}: {row['file']} needs five numbers for its ellipse") from None
    if not all(map(math.isfinite, (x, y, a, b, angle))) or min(a, b) <= 0:
        raise SweepError(f"{path.name}, line {line}: semi-axes {a} and {b}; both must be positive")
    if b > a:
        a, b, angle = b, a, angle + 90.0
    texts = {name: (row.get(name) or "").strip() for name in ("sha256", "confidence", "calipers", "source")}
    return OutlineRow(Ellipse(x, y, a, b, angle % 180.0), **texts)
