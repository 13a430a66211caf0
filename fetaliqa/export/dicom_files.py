"""Writing of DICOM datasets, with pydicom 2 and 3."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

_STANDARD = {"write_like_original": False} if pydicom.__version_info__[0] == "2" else {"enforce_file_format": True}


def save_dicom(dataset: Dataset, path: Path) -> None:
    """Write a dataset as a file of the DICOM File Format (PS3.10).

    Raises:
        OSError: when the disk does not take it.
    """
    try:
        dataset.save_as(path, **_STANDARD)  # type: ignore[arg-type]
    except OSError as problem:  # pydicom makes a new one of it, with a traceback as its message
        first: BaseException = problem
        while getattr(first, "errno", None) is None and first.__cause__ is not None:
            first = first.__cause__
        number = getattr(first, "errno", None)
        raise OSError(number, os.strerror(number or errno.EIO), str(path)) from None
