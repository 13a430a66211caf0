"""The folder layout of ACOUSLIC-AI: image stacks, mask stacks, and the table of circumferences.

images/stacked_fetal_ultrasound/UUID.mha    uint8 frames (the six sweeps one after the other)
masks/stacked_fetal_abdomen/UUID.mha        uint8, 1 optimal plane, 2 suboptimal plane
circumferences/fetal_abdominal_circumferences_per_sweep.csv
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from fetaliqa.atomic import atomic_path, write_text
from fetaliqa.datasets.csv_text import csv_text
from fetaliqa.errors import SweepError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.sweep.itk_paths import write_compressed

IMAGES = Path("images/stacked_fetal_ultrasound")
MASKS = Path("masks/stacked_fetal_abdomen")
CIRCUMFERENCES = Path("circumferences/fetal_abdominal_circumferences_per_sweep.csv")
MANIFEST = Path("manifest.json")


@dataclass(frozen=True)
class Circumferences:
    """One row of the table: the AC (mm) of each sweep, None without an annotated plane."""

    uuid: str
    subject_id: str
    ac_mm: tuple[float | None, ...]


def write_stack(path: Path, stack: np.ndarray, spacing_mm: tuple[float, float]) -> None:
    """Write uint8 [T, rows, columns] as a compressed .mha.

    As in ACOUSLIC-AI, the third spacing repeats the pixel size and has no physical meaning.
    """
    image = sitk.GetImageFromArray(stack)
    image.SetSpacing((spacing_mm[1], spacing_mm[0], spacing_mm[0]))
    with atomic_path(path) as temporary:
        write_compressed(image, temporary, level=6)


def write_case(
    directory: Path, case_id: str, frames: np.ndarray, masks: np.ndarray, spacing_mm: tuple[float, float]
) -> dict[str, str]:
    """Write one case's two stacks; returns relative path -> sha256 (hex) of each file."""
    hashes = {}
    for folder, stack in ((IMAGES, frames), (MASKS, masks)):
        relative = folder / f"{case_id}.mha"
        write_stack(directory / relative, stack, spacing_mm)
        hashes[relative.as_posix()] = file_sha256(directory / relative)
    return hashes


def write_circumferences(directory: Path, rows: Sequence[Circumferences]) -> None:
    """Write the table; an absent AC is an empty cell."""
    sweeps = max((len(row.ac_mm) for row in rows), default=0)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["uuid", "subject_id", *(f"sweep_{k + 1}_ac_mm" for k in range(sweeps))])
    for row in rows:
        cells = ["" if value is None else f"{value:.4f}" for value in row.ac_mm]
        writer.writerow([row.uuid, row.subject_id, *cells])
    write_text(directory / CIRCUMFERENCES, text.getvalue())


def read_circumferences(directory: Path) -> list[Circumferences]:
    """Read the table of a dataset folder (real or phantom).

    Raises:
        SweepError: when the table is missing or has other columns.
    """
    path = Path(directory) / CIRCUMFERENCES
    if not path.is_file():
        raise SweepError(f"{directory}: no {CIRCUMFERENCES.as_posix()}; is this an ACOUSLIC-AI folder?")
    reader = csv.DictReader(csv_text(path))
    names = reader.fieldnames or []
    columns = [name for name in names if name.startswith("sweep_") and name.endswith("_ac_mm")]
    if "uuid" not in names or "subject_id" not in names or not columns:
        raise SweepError(f"{path.name}: columns {names}; expected uuid, subject_id, sweep_1_ac_mm, ...")
    return [
        Circumferences(row["uuid"], row["subject_id"], tuple(_number(path, row, column) for column in columns))
        for row in reader
    ]


def _number(path: Path, row: dict[str, Any], column: str) -> float | None:
    """AC (mm) in a cell; None when it is empty or ``nan``."""
    try:
        value = float(row[column]) if row[column] else math.nan
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise SweepError(f"{path.name}, case {row['uuid']}: {column} is {row[column]!r}; a number is needed")
    return None if math.isnan(value) else value
