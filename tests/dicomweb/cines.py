"""Cine ultrasound of phantoms, as a scanner would have sent it to an archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import FileDataset

from fetaliqa.export.dicom_parts import write_cine
from fetaliqa.export.export_case import ExportCase
from fetaliqa.sweep import Grid

PATIENT = "Müller^Jane"
SPACING = (0.31, 0.28)  # mm, row and column


def a_cine(
    path: Path,
    frames: np.ndarray,
    number: int,
    series: str | None = None,
    spacing: tuple[float, float] = SPACING,
) -> FileDataset:
    """Write a cine by our own exporter, then put the patient into it that exports leave out.

    Args:
        path: where to write it.
        frames: uint8 [T, H, W].
        number: tells cines apart.
        series: UID of its series, or None for one of its own.
        spacing: (row, column) in mm.
    """
    masks = np.zeros(frames.shape, np.uint8)
    case = ExportCase(f"cine{number}", "patient", frames, masks, {}, spacing, ((0, len(frames)),), Grid())
    write_cine(path, case, list(range(len(frames))))
    dataset = dcmread(path)
    dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 100", PATIENT
    dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "4711", "19900304", "F"
    dataset.StudyInstanceUID, dataset.StudyDate = "1.2.826.0.1.3680043.8.498.99.1", "20260102"
    dataset.SeriesInstanceUID = series or f"1.2.826.0.1.3680043.8.498.99.2.{number}"
    dataset.AccessionNumber, dataset.InstanceNumber = "ACC42", number
    dataset.save_as(path, write_like_original=False)
    return dataset
