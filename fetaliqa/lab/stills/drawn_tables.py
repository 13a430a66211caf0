"""What tables of ellipses and of lines for still images share: reading, texts, and which picture a row is of."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fetaliqa.datasets.csv_text import csv_text
from fetaliqa.errors import SweepError
from fetaliqa.lab.stills.still_image import Picture

TEXTS = ("sha256", "confidence", "calipers", "source")  # optional columns


@dataclass(frozen=True, kw_only=True)
class DrawnRow:
    """One row; the texts are empty where the table does not say."""

    sha256: str = ""
    confidence: str = ""
    calipers: str = ""
    source: str = ""

    def fits(self, picture: Picture) -> bool:
        """Whether the row was drawn on this picture: a file of the same name may hold another image."""
        return not self.sha256 or self.sha256 in (picture.sha256, picture.file_sha256)


Row = TypeVar("Row", bound=DrawnRow)


def rows_of(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and content of the rows of a table that exists.

    Raises:
        SweepError: when a column is missing.
    """
    with csv_text(path) as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise SweepError(f"{path.name}: no column {', '.join(missing)}; needed are {', '.join(needed)}")
        for row in reader:
            yield reader.line_num, row


def texts_of(row: Mapping[str, str]) -> dict[str, str]:
    """The texts of a row, by name."""
    return {name: (row.get(name) or "").strip() for name in TEXTS}


def fitting_row(picture: Picture, name: str, *tables: Mapping[str, Row]) -> Row | None:
    """The row of a file in the first of some tables where it was drawn on this picture, if any."""
    rows = (table.get(name) for table in tables)
    return next((row for row in rows if row is not None and row.fits(picture)), None)
