"""Reader of the manifest and card of an export of this software: classes, aliases and frames of its files."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from fetaliqa.datasets.csv_text import csv_text
from fetaliqa.errors import LabelError
from fetaliqa.export.data_card import CARD, CHECKSUMS
from fetaliqa.export.frame_names import SUFFIX
from fetaliqa.export.incoming.label_source import ClassLabel, read_json
from fetaliqa.export.manifest import CSV_NAME

LEVELS = 4  # folders from a file of an export up to its root, itself included


@dataclass(frozen=True)
class Row:
    """A frame of an export: its case, number, state, files, and its place in these where they are stacks."""

    case_id: str
    frame: int
    state: str
    image: Path
    mask: Path | None
    slice: int | None


def export_root(path: Path) -> Path | None:
    """The export that a file or folder is of; None when it is of none."""
    for folder in [path, *path.resolve().parents][:LEVELS]:
        if all((folder / name).is_file() for name in (CARD, CHECKSUMS, CSV_NAME)):
            return folder
    return None


def export_classes(path: Path) -> list[ClassLabel]:
    """Classes of the masks of the export that ``path`` is of; none when it is of none."""
    root = export_root(path)
    labels = None if root is None else read_json(root / CARD).get("labels")
    if not isinstance(labels, dict):
        return []
    return [ClassLabel(name, value) for name, value in labels.items() if value]


def export_aliases(path: Path) -> dict[str, str]:
    """Case by stem of its files, for cases whose files had to be named differently.

    Raises:
        LabelError: when its manifest cannot be used.
    """
    aliases = {}
    for row in _rows(path):
        stem = SUFFIX.sub("", row.image.name)
        if row.slice is None:  # a picture of a frame; nnU-Net adds the number of the channel
            stem = re.sub(rf"_{row.frame:04d}(_proposed)?(_0000)?$", "", stem)
        if stem != row.case_id:
            aliases[stem] = row.case_id
    return aliases


def export_rows(path: Path) -> dict[Path, list[Row]]:
    """Frames of the export that ``path`` is of, by mask file; none when it is of none.

    Raises:
        LabelError: when its manifest cannot be used.
    """
    rows: dict[Path, list[Row]] = {}
    for row in _rows(path):
        if row.mask is not None:
            rows.setdefault(row.mask.resolve(), []).append(row)
    return rows


def _rows(path: Path) -> list[Row]:
    """The manifest of the export that ``path`` is of; none when it is of none."""
    root = export_root(path)
    if root is None:
        return []
    with csv_text(root / CSV_NAME) as stream:
        try:
            return [
                Row(
                    row["case_id"],
                    int(row["frame"]),
                    row["state"],
                    root / row["image"],
                    root / row["mask"] if row["mask"] else None,
                    int(row["slice"]) if row["slice"] else None,
                )
                for row in csv.DictReader(stream)
            ]
        except (KeyError, TypeError, ValueError) as problem:
            raise LabelError(f"{CSV_NAME}: not the manifest of an export ({problem}); export again") from None
