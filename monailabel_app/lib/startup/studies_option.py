"""Interprets ``--studies``: a folder, or the address of a DICOM archive with the folder of its copies."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fetaliqa.errors import OptionError
from monailabel_app.lib.access.access_folder import FOLDER
from monailabel_app.lib.dicomweb.archive_address import archive_folder, checked_address, is_address
from monailabel_app.lib.dicomweb.archive_client import Archive
from monailabel_app.lib.startup.conf import ServerConf
from monailabel_app.lib.startup.log_files import LOG_FOLDER

WRITTEN_FOLDERS = (
    FOLDER,
    "labels",
    "label-versions",
    "frame-profiles",
    "retraining",
    LOG_FOLDER,
)  # of a studies folder
INDEX_LOCK = ".lock"


def open_studies(studies: str, conf: ServerConf, read_only: bool) -> tuple[str, Archive | None]:
    """The folder to serve, and the archive that its images come from.

    Args:
        studies: as given to the server.
        conf: its settings.
        read_only: in a worker process, which only reads the folder and does not contact the archive.

    Raises:
        FetalIQAError: when the address is not valid, or the archive does not respond.
    """
    if not is_address(studies):
        return studies, None
    address = checked_address(studies)
    if read_only:
        return str(archive_folder(address, conf.dicom_folder)), None
    archive = Archive(address, conf.max_upload_bytes)
    archive.check()
    return str(archive_folder(address, conf.dicom_folder)), archive


def check_studies(studies: str, conf: ServerConf) -> tuple[str, Path]:
    """Check that ``--studies`` can be served.

    Returns:
        The studies (a resolved folder, or an archive's address), and the folder of labels and log.

    Raises:
        FetalIQAError: when it cannot be served.
    """
    if is_address(studies):
        address = checked_address(studies)
        folder = Path(open_studies(address, conf, read_only=False)[0])
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
        return address, folder
    if not studies.strip():  # such as an unset variable; it would mean the working folder
        raise OptionError("--studies is empty: name the folder of the sweeps")
    folder = Path(studies)
    try:
        exists = folder.is_dir()
    except OSError as problem:  # in a folder that is closed to this user, or a name that no disk takes
        raise OptionError(f"--studies {studies}: cannot be opened ({problem.strerror}); check the path") from None
    if not exists:
        what = "is a file; give the folder that it is in" if folder.is_file() else "there is no such folder"
        raise OptionError(f"--studies {studies}: {what}")
    check_writable(folder)
    return str(folder.resolve()), folder.resolve()


def check_writable(folder: Path) -> None:
    """Refuse a studies folder in which the server could not write labels.

    Raises:
        OptionError: with the reason.
    """
    folders = [folder, *(folder / name for name in WRITTEN_FOLDERS if (folder / name).is_dir())]
    try:
        for each in folders:
            with tempfile.TemporaryFile(dir=each):
                pass
        if (folder / INDEX_LOCK).exists():
            os.close(os.open(folder / INDEX_LOCK, os.O_RDWR))
    except OSError as problem:
        raise OptionError(
            f"--studies {folder}: this user cannot write there ({problem.strerror}), and labels, index and log "
            "are kept in it; change its permissions, or copy the studies to a folder of your own"
        ) from None
