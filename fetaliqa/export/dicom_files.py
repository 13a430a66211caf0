"""Writing of DICOM datasets, with pydicom 2 and 3."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

_STANDARD = {"write_like_original": False} if pydicom.__version_info__[0] == "2" else {"enforce_file_format": True}


def save_dicom(dataset: Dataset, path: Path) -> None:
    """Write a dataset as a file of the DICOM File Format (PS3.10).

    Raises:
        OSError: when the disk does not take it.
    """
    dataset.save_as(path, **_STANDARD)  # type: ignore[arg-type]
