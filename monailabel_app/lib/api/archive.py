"""``/archive``: how far the folder of copies and the DICOM archive are apart."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from monailabel_app.lib.api.common import ADMIN, USER, served
from monailabel_app.lib.dicomweb.link import ArchiveLink
from monailabel_app.lib.refusal import Refused
from monailabel_app.lib.shown_paths import without_folders

router = APIRouter(prefix="/archive", tags=["Archive"])


def _link() -> ArchiveLink:
    link = served().archive()
    if link is None:
        raise Refused(404, "the studies are a folder, not a DICOM archive; see docs/dicomweb.md")
    return link


@router.get("/", summary="Copies, labels that wait to be sent, and what went wrong")
def archive_status(user: Any = USER) -> dict[str, Any]:
    """Address, time of the last look, number of cines, final labels that the archive has not got, and problems."""
    return without_folders(_link().status())


@router.post("/refresh", summary="Look for new cines and send labels now")
def archive_refresh(user: Any = ADMIN) -> dict[str, Any]:
    """Begin; ``GET /archive/`` says ``looking`` until it is done."""
    link = _link()
    link.look_soon()
    return without_folders(link.status())
