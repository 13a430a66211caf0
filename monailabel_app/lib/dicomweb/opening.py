"""From ``--studies`` to what is served: a folder, and the link to an archive where it is one's."""

from __future__ import annotations

from pathlib import Path

from fetaliqa.errors import OptionError
from monailabel_app.lib.conf import ServerConf
from monailabel_app.lib.dicomweb.address import archive_folder, checked_address, is_address
from monailabel_app.lib.dicomweb.archive import Archive


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


def studies_for_server(studies: str, conf: ServerConf) -> str:
    """``--studies`` as it is handed to the server, after checking that it can be served.

    Raises:
        FetalIQAError: when it cannot.
    """
    if is_address(studies):
        address = checked_address(studies)
        open_studies(address, conf, read_only=False)
        return address
    if not Path(studies).is_dir():
        raise OptionError(f"--studies {studies}: there is no such folder")
    return str(Path(studies).resolve())
