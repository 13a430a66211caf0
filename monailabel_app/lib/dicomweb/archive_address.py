"""The address of an archive, and the folder of its copies on this machine."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

from monailabel.config import settings

from fetaliqa.errors import OptionError, StorageError
from fetaliqa.model.user_folders import archives_folder

_DIGITS = 8  # of a hash, which tells archives apart whose names look the same


def is_address(studies: str) -> bool:
    """Whether ``--studies`` is a URL, not a folder."""
    return "://" in studies


def checked_address(studies: str) -> str:
    """The normalised address of an archive.

    Raises:
        OptionError: when it is not a valid address.
    """
    address = studies.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        usable = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise OptionError(
            f"--studies {_without_login(studies)[:200]}: an archive's address is of the form "
            "http://host:port/dicom-web"
        )
    if "@" in parts.netloc:
        raise OptionError(
            f"--studies {_without_login(address)}: leave the login out of the address, which is logged; set "
            "MONAI_LABEL_DICOMWEB_USERNAME and MONAI_LABEL_DICOMWEB_PASSWORD"
        )
    if settings.MONAI_LABEL_DATASTORE.lower() not in ("", "dicom", "dicomweb"):
        raise OptionError(
            f"MONAI_LABEL_DATASTORE {settings.MONAI_LABEL_DATASTORE}: only archives by DICOMweb can be served; "
            "unset it"
        )
    return address


def _without_login(address: str) -> str:
    return re.sub(r"//[^/]*@", "//", address)


def archive_folder(address: str, parent: Path | None) -> Path:
    """The folder of an archive's copies and labels, made when it is not there; others may not read it.

    Args:
        address: of the archive.
        parent: folder to put it into, or None for the user's.

    Raises:
        StorageError: when it cannot be made.
    """
    folder = _archive_path(address, parent)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # patients' names are in the copies
    except OSError as problem:
        raise StorageError(
            f"{folder}: the folder for copies of the archive cannot be made ({problem.strerror}); "
            "name another with --conf dicom_folder"
        ) from None
    return folder


def _archive_path(address: str, parent: Path | None) -> Path:
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", address.split("://", 1)[1]).strip("-.")[:60]
    name = f"{plain}-{hashlib.sha256(address.encode()).hexdigest()[:_DIGITS]}"
    return (parent or archives_folder()) / name


def studies_folder(studies: str, dicom_folder: Path | None = None) -> Path:
    """The folder of labels, users and log of ``--studies``; it may not exist yet.

    Args:
        studies: folder, or address of an archive.
        dicom_folder: of the archive's copies, or None for the user's.

    Raises:
        OptionError: when the address is not valid.
    """
    return _archive_path(checked_address(studies), dicom_folder) if is_address(studies) else Path(studies)
