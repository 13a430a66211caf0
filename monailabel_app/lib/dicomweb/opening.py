"""From ``--studies`` to what is served: a folder, and the link to an archive where it is one's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fetaliqa.errors import OptionError
from monailabel_app.lib.conf import ServerConf
from monailabel_app.lib.dicomweb.address import archive_folder, checked_address, is_address
from monailabel_app.lib.dicomweb.archive import Archive
from monailabel_app.lib.log_files import LOG_FOLDER

WRITTEN_FOLDERS = ("labels", "label-versions", "frame-profiles", "retraining", LOG_FOLDER)  # of a studies folder
INDEX_LOCK = ".lock"


def open_studies(studies: str, conf: ServerConf, read_only: bool) -> tuple[str, Archive | None]:
    """The folder to serve, and the archive that its images come from.

    Args:
        studies: as given to the server.
        conf: its settings.
        read_only: of a worker: it takes what is in the folder, and calls nobody.

    Raises:
        FetalIQAError: when an archive's address is none, or the archive does not answer.
    """
    if not is_address(studies):
        return studies, None
    address = checked_address(studies)
    if read_only:
        return str(archive_folder(address, conf.dicom_folder)), None
    archive = Archive(address, conf.max_upload_bytes)
    archive.check()
    return str(archive_folder(address, conf.dicom_folder)), archive


def studies_for_server(studies: str, conf: ServerConf) -> tuple[str, Path]:
    """``--studies`` as it is handed to the server, after checking that it can be served.

    Returns:
        The studies (a folder, or an archive's address), and the folder that labels and log are kept in.

    Raises:
        FetalIQAError: when it cannot be served.
    """
    if is_address(studies):
        address = checked_address(studies)
        folder = Path(open_studies(address, conf, read_only=False)[0])
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
        return address, folder
    if not studies.strip():  # such as a variable that is not set: it would mean the working folder
        raise OptionError("--studies is empty: name the folder of the sweeps")
    folder = Path(studies)
    try:
        there = folder.is_dir()
    except OSError as problem:  # in a folder that is closed to this user, or a name that no disk takes
        raise OptionError(f"--studies {studies}: cannot be opened ({problem.strerror}); check the path") from None
    if not there:
        what = "is a file; name the folder that it lies in" if folder.is_file() else "there is no such folder"
        raise OptionError(f"--studies {studies}: {what}")
    check_writable(folder)
    return str(folder.resolve()), folder.resolve()


def check_writable(folder: Path) -> None:
    """Refuse a studies folder that the server could not keep labels in.

    Raises:
        OptionError: naming what cannot be written, and why.
    """
    places = [folder, *(folder / name for name in WRITTEN_FOLDERS if (folder / name).is_dir())]
    try:
        for place in places:
            with tempfile.TemporaryFile(dir=place):
                pass
        if (folder / INDEX_LOCK).exists():
            os.close(os.open(folder / INDEX_LOCK, os.O_RDWR))
    except OSError as problem:
        raise OptionError(
            f"--studies {folder}: this user cannot write there ({problem.strerror}), and labels, index and log "
            "are kept in it; change its permissions, or copy the studies to a folder of your own"
        ) from None
