"""Content items of a DICOM report, as any reader of SR finds them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pydicom
import pytest


def flat(item: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """An item and all below it, in their order."""
    yield item
    for inner in item.get("ContentSequence", ()):
        yield from flat(inner)


def named(item: pydicom.Dataset) -> str | None:
    """Meaning of an item's concept name."""
    return item.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in item else None


def groups(report: pydicom.Dataset) -> dict[str, pydicom.Dataset]:
    """Measurement groups by their tracking identifier."""
    found = [one for one in flat(report) if named(one) == "Measurement Group"]
    return {texts(one, "Tracking Identifier")[0]: one for one in found}


def texts(item: pydicom.Dataset, name: str) -> list[str]:
    """Texts of this name directly below an item."""
    return [one.TextValue for one in item.ContentSequence if named(one) == name]


def number(item: pydicom.Dataset, name: str) -> tuple[float, str]:
    """Value and unit of the only number of this name directly below an item."""
    (found,) = (one for one in item.ContentSequence if named(one) == name)
    (measured,) = found.MeasuredValueSequence
    return float(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue


def referenced(item: pydicom.Dataset) -> list[pydicom.Dataset]:
    """References to images in an item and below it."""
    return [one.ReferencedSOPSequence[0] for one in flat(item) if one.ValueType == "IMAGE"]


def run(*words: object) -> str:
    """Run a program of others on a file; what it printed. Skips the test where the program is not installed."""
    program = str(words[0])
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: apt-get install dcmtk dicom3tools, or `make orthanc`")
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
