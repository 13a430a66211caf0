"""Gestational age in a DICOM header: acquisition date less last menstrual date.

Ultrasound images have no attribute for the fetus' age; ``PatientAge`` is the mother's. Sources: DICOM PS3.6,
(0010,21D0) Last Menstrual Date, (0008,0022) Acquisition Date, (0008,0023) Content Date, (0008,0020) Study Date.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from fetaliqa.sweep.folder_contents import MARK, MARK_AT

LAST_PERIOD = 0x001021D0
SCANNED = (0x00080022, 0x00080023, 0x00080020)  # the first of these that is a date


def days_since_last_period(path: Path) -> int | None:
    """Days from the last menstrual date to the scan, as the header has them; None without both dates.

    The number is not checked: a wrong date gives one that no pregnancy has.

    Args:
        path: any file, or a folder of frames, whose first file counts; None for what is not DICOM.
    """
    if path.is_dir():
        path = min((file for file in path.iterdir() if file.is_file()), default=path)
    if not _is_dicom(path):
        return None
    try:
        header = pydicom.dcmread(path, specific_tags=[LAST_PERIOD, *SCANNED], stop_before_pixels=True)
        period = _date(header.get(LAST_PERIOD))
        scanned = next((day for tag in SCANNED if (day := _date(header.get(tag))) is not None), None)
    except (InvalidDicomError, OSError, ValueError, TypeError, AttributeError, EOFError):
        return None  # what a damaged file lacks is said by reading it
    return None if period is None or scanned is None else (scanned - period).days


def _is_dicom(path: Path) -> bool:
    try:
        with open(path, "rb") as stream:
            stream.seek(MARK_AT)
            return stream.read(len(MARK)) == MARK
    except OSError:
        return False


def _date(element: object) -> date | None:
    text = str(getattr(element, "value", "") or "").strip()
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None
