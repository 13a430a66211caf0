"""``/export``: exports of annotated frames as a ZIP, one at a time."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from monailabel_app.lib.api.dependencies import ADMIN, USER, served
from monailabel_app.lib.api.file_responses import streamed_file
from monailabel_app.lib.http.json_input import JsonObject, takes_json
from monailabel_app.lib.http.path_redaction import without_folders
from monailabel_app.lib.http.refusal import Refused, as_refusal

router = APIRouter(prefix="/export", tags=["Export"])


TEXT, FLAG = {"type": "string", "minLength": 1}, {"type": "boolean"}
BODY = takes_json(
    {
        **dict.fromkeys(("format", "name", "classes", "licence", "model"), TEXT),
        **dict.fromkeys(("blank_outside", "report", "parquet"), FLAG),
        "selection": {"type": "object"},
    },
    others=False,
)


@router.post("/", summary="Start an export", openapi_extra=BODY)
def export_start(params: JsonObject, user: Any = ADMIN) -> dict[str, Any]:
    """Keys: format, selection, name, classes, licence, blank_outside, report, parquet, model; see docs/export.md.

    The folder is the server's studies, and the files go to a temporary folder of the server; no path is accepted.
    """
    app = served()
    services = {name: task.serving.current() for name, task in app._infers.items()}
    with as_refusal():
        return app.exports().start(params, services).to_json()


@router.get("/{job_id}", summary="Progress of an export")
def export_status(job_id: str, user: Any = USER) -> dict[str, Any]:
    """Status (RUNNING, DONE, ERROR, STOPPED), numbers of cases and frames; the data card when done."""
    return without_folders(served().exports().job(job_id).to_json())


@router.get("/{job_id}/zip", summary="The export")
def export_zip(job_id: str, user: Any = ADMIN) -> Response:
    """The ZIP, streamed; it is kept until DELETE, the next export, or for an hour."""
    job = served().exports().job(job_id)
    if job.status != "DONE":
        raise Refused(409, f"export {job_id} is {job.status}, not DONE; {job.message or 'wait for it'}")
    try:
        return streamed_file(job.zip, f"export-{job_id[:8]}.zip")
    except FileNotFoundError:
        raise Refused(404, f"export {job_id} was just removed; start it again") from None


@router.delete("/{job_id}", summary="Cancel an export and remove its files")
def export_delete(job_id: str, user: Any = ADMIN) -> dict[str, Any]:
    """Cancel it if it is running, and remove its files."""
    return {"id": job_id, "status": served().exports().delete(job_id)}
