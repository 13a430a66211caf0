"""The HC18 data set: fetal heads on standard planes, with expert outlines and pixel sizes.

van den Heuvel et al. 2018, Zenodo 10.5281/zenodo.1327317, CC BY 4.0. Layout::

    images/NNN_HC.png, NNN_2HC.png ...            800 x 540 grey images; NNN is the patient's number
    annotations/NNN_HC_Annotation.png             the outline as a line
    pixel_size_and_HC.csv                         filename, pixel size (mm), head circumference (mm)

The published archive has images and annotations in one folder; both arrangements are accepted.

The lines are ellipses, about three pixels wide; the circumference in the table is that of their centre line. An
ellipse is therefore fitted to the line's pixels and filled (0.01 mm from the table on average over 397 images).
Filling the drawn line would make heads 1.3 pixels too large in radius (1.1 mm of circumference), and fails for
three that extend beyond the image.
"""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fetaliqa.datasets.csv_text import csv_text
from fetaliqa.datasets.labelled_data import CaseEntry, LabelledCase
from fetaliqa.errors import NotFoundError, SweepError
from fetaliqa.measure import Ellipse, draw_ellipse, fit_ellipse
from fetaliqa.measure.anatomy import HEAD

TABLES = ("pixel_size_and_HC.csv", "training_set_pixel_size_and_HC.csv")
PATIENT = re.compile(r"(\d+)_")


@dataclass(frozen=True)
class TableRow:
    """One image of the table."""

    name: str  # file name without suffix
    pixel_mm: float
    circumference_mm: float


def hc18_table(folder: Path) -> Path | None:
    """The table of an HC18 folder, or None for another folder."""
    return next((folder / name for name in TABLES if (folder / name).is_file()), None)


class HC18:
    """The labelled part of HC18, one case per image, one subject per patient number.

    Args:
        folder: root folder, see the module docstring.

    Raises:
        NotFoundError: when the table is missing.
        SweepError: when the table has other columns or an invalid number.
    """

    name = "hc18"
    anatomy = HEAD
    synthetic = False

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        table = hc18_table(self.folder)
        if table is None:
            raise NotFoundError(f"{folder}: no {' or '.join(TABLES)} in it; is this an HC18 folder?")
        self._table = table
        self._rows = {row.name: row for row in read_table(table)}

    def _image(self, name: str) -> Path:
        return self._beside("images", f"{name}.png")

    def _annotation(self, name: str) -> Path:
        return self._beside("annotations", f"{name}_Annotation.png")

    def _beside(self, part: str, name: str) -> Path:
        nested = self.folder / part / name
        return nested if nested.is_file() else self.folder / name

    def problems(self) -> list[str]:
        """Missing files, one sentence each."""
        return [
            f"{path.name} is missing"
            for name in self._rows
            for path in (self._image(name), self._annotation(name))
            if not path.is_file()
        ]

    def entries(self) -> list[CaseEntry]:
        """The images of the table whose files and annotations exist."""
        return [
            CaseEntry(name, patient_of(name))
            for name in self._rows
            if self._image(name).is_file() and self._annotation(name).is_file()
        ]

    def read(self, case_id: str) -> LabelledCase:
        """An image as a case of one frame."""
        row = self._rows.get(case_id)
        if row is None:
            raise NotFoundError(f"{case_id}: no such image in {self._table.name}")
        image = _grey(self._image(case_id))
        outline = line_ellipse(self._annotation(case_id), (image.shape[0], image.shape[1]))
        mask = draw_ellipse(outline, (image.shape[0], image.shape[1]))[None]
        return LabelledCase(
            case_id=case_id,
            subject_id=patient_of(case_id),
            frames=image[None],
            masks=mask,
            known=np.ones(1, bool),
            spacing=(row.pixel_mm, row.pixel_mm),
            ranges=((0, 1),),
            circumferences_mm=(row.circumference_mm,),
        )

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self._table.read_bytes())
        for entry in self.entries():
            for path in (self._image(entry.case_id), self._annotation(entry.case_id)):
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def patient_of(name: str) -> str:
    """The patient's number at the start of an image's name."""
    number = PATIENT.match(name)
    return number.group(1) if number else name


def line_ellipse(annotation: Path, shape: tuple[int, int]) -> Ellipse:
    """The ellipse drawn in an annotation, in pixels of the image.

    Args:
        annotation: image of the line.
        shape: (rows, columns) of the annotated image.

    Raises:
        NotFoundError: when there is no such file.
        SweepError: when it is not an image, has another size, or shows no ellipse.
    """
    line = _grey(annotation)
    if line.shape != shape:
        raise SweepError(f"{annotation.name}: {line.shape} pixels; its image has {shape}; they differ in size")
    rows, columns = np.nonzero(line)
    outline = fit_ellipse(np.stack([columns, rows], axis=1).astype(float))
    if outline is None:
        raise SweepError(f"{annotation.name}: its line is not an ellipse")
    return outline


def _grey(path: Path) -> np.ndarray:
    if not path.is_file():
        raise NotFoundError(f"{path.name}: no such file in the HC18 folder")
    # not imread, which accepts only UTF-8 names (on Windows only ASCII)
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE) if path.stat().st_size else None
    if picture is None:
        raise SweepError(f"{path.name}: not a readable image")
    return picture


def read_table(path: Path) -> list[TableRow]:
    """The rows of HC18's table.

    Raises:
        SweepError: when it has other columns or an invalid number.
    """
    with csv_text(path) as stream:
        reader = csv.reader(stream)
        header = [cell.strip().lower() for cell in next(reader, [])]
        if len(header) < 3 or header[0] != "filename" or "pixel size" not in header[1]:
            raise SweepError(
                f"{path.name}: columns {header}; expected filename, pixel size(mm), head circumference (mm)"
            )
        rows = []
        for number, cells in enumerate(reader, start=2):
            if not cells:
                continue
            try:
                row = TableRow(Path(cells[0]).stem, float(cells[1]), float(cells[2]))
            except (ValueError, IndexError):
                raise SweepError(
                    f"{path.name}, line {number}: {cells}; a name and two numbers are needed"
                ) from None
            if not (row.pixel_mm > 0 and row.circumference_mm > 0):
                raise SweepError(f"{path.name}, line {number}: pixel size and circumference must be positive")
            rows.append(row)
    return rows
