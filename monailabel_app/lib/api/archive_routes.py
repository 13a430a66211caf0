"""``/archive``: state of the synchronisation with a DICOM archive."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from monailabel_app.lib.api.dependencies import ADMIN, USER, served
from monailabel_app.lib.dicomweb.archive_sync import ArchiveSync
from monailabel_app.lib.http.path_redaction import without_folders
from monailabel_app.lib.http.refusal import Refused

router = APIRouter(prefix="/archive", tags=["Archive"])


def _archive() -> ArchiveSync:
    archive = served().archive()
    if archive is None:
        raise Refused(404, "the studies are a folder, not a DICOM archive; see docs/dicomweb.md")
    return archive


@router.get("/", summary="Copies, pending labels and problems")
def archive_status(user: Any = USER) -> dict[str, Any]:
    """Address, time of the last search, number of cines, final labels that are not sent yet, and problems."""
    return without_folders(_archive().status())


@router.post("/refresh", summary="Search for new cines and send labels now")
def archive_refresh(user: Any = ADMIN) -> dict[str, Any]:
    """Begin; ``looking`` in ``GET /archive/`` is true until it is done."""
    archive = _archive()
    archive.request_search()
    return without_folders(archive.status())
