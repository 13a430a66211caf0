"""Decoding of CSV files."""

from __future__ import annotations

import io
from pathlib import Path

from fetaliqa.errors import SweepError


def csv_text(path: Path) -> io.StringIO:
    """The text of a CSV file in UTF-8, with or without a byte order mark.

    Raises:
        SweepError: when it is in another encoding.
    """
    try:
        return io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as problem:
        raise SweepError(
            f"{path.name}: byte {problem.start} is not UTF-8; save the table as CSV in UTF-8"
        ) from None
