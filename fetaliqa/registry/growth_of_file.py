"""Growth of an assessed file: the age that was given, or the one that its DICOM header has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fetaliqa.measure.case_growth import case_growth
from fetaliqa.measure.fetal_growth import DAYS_PER_WEEK, MAX_GIVEN_WEEKS, GestationalAge
from fetaliqa.sweep.dicom_age import days_since_last_period


def growth_of_file(
    path: Path, measurement: Mapping[str, Any] | None, age: GestationalAge | None = None
) -> dict[str, Any] | None:
    """``growth`` of a file's record (docs/assessment.md).

    Args:
        path: the file, whose DICOM header may give an age.
        measurement: the record's ``measurement``, in mm.
        age: goes before the header's; None for none.
    """
    note = None
    if age is None and (days := days_since_last_period(path)) is not None:
        if 0 < days <= MAX_GIVEN_WEEKS * DAYS_PER_WEEK:
            age = GestationalAge(days, "DICOM")
        else:
            note = f"the last menstrual date of the DICOM header is {days} days before the scan; it is not used"
    growth = case_growth(measurement, age)
    if growth is not None and note is not None:
        growth["notes"].append(note)
    return growth
