"""Options of an export: format, names, classes, split, pseudonyms, blanking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fetaliqa.errors import OptionError
from fetaliqa.export.formats.format_writer import CLASSES


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        format: one of ``FORMATS``.
        name: of the data set, for its card.
        classes: ``plane`` or ``anatomy``, see ``ExportContext``.
        split: file of ``fetaliqa data split``; None: a subject-wise split of the source's cases.
        pseudonyms: key file, see ``Pseudonyms``; None keeps the names.
        blank: whether to blank outside of the sector.
        preview: file for a preview of the blanking; outside of the export.
        parquet: whether to write the manifest as Parquet too.
        licence: of the data, in words.
        skip_unreadable: skip cases that cannot be read, instead of stopping.
        report: whether to write a report, one HTML file.

    Raises:
        OptionError: for another value of ``classes``.
    """

    format: str = "png"
    name: str = "FetalIQA export"
    classes: str = "plane"
    split: Path | None = None
    pseudonyms: Path | None = None
    blank: bool = False
    preview: Path | None = None
    parquet: bool = False
    licence: str | None = None
    skip_unreadable: bool = False
    report: bool = False

    def __post_init__(self) -> None:
        if self.classes not in CLASSES:
            raise OptionError(f"classes {self.classes!r}; it must be one of {', '.join(CLASSES)}")


def check_places(out: Path | None, options: ExportOptions) -> None:
    """Check that the output does not exist, and that key file and preview lie outside of it.

    Raises:
        OptionError: naming the path.
    """
    if out is not None and out.exists():
        raise OptionError(f"{out} exists already; name a folder that does not, an export replaces nothing")
    for path, what in ((options.pseudonyms, "the key file"), (options.preview, "the blanking preview")):
        if path is not None and out is not None and path.resolve().is_relative_to(out.resolve()):
            raise OptionError(f"{what} may not lie in the export; name a place outside of {out}")
