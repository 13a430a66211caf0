"""``/fetaliqa/v1``: the gate's report of a model version, and what an export would hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse

from fetaliqa.inference.shared_requests import Stopped
from fetaliqa.model.bundle_names import valid_name
from fetaliqa.registry.model_store import report_of
from monailabel_app.lib.api.dependencies import ADMIN, MAX_COUNT, USER, served
from monailabel_app.lib.api.export_routes import BODY
from monailabel_app.lib.api.inference_routes import inference_limiter
from monailabel_app.lib.api.v1 import PREFIX
from monailabel_app.lib.browser.report_pictures import picture_file, pictures_of
from monailabel_app.lib.http.disconnects import run_while_connected
from monailabel_app.lib.http.json_input import JsonObject
from monailabel_app.lib.http.path_redaction import without_folders
from monailabel_app.lib.http.refusal import Refused, as_refusal
from monailabel_app.lib.startup.conf import SEG_MODEL
from monailabel_app.lib.tasks.inference_task import known_task

router = APIRouter(prefix=PREFIX, tags=["FetalIQA"])


@router.get("/models/report", summary="The gate's comparison of a version with its predecessor")
def model_report(version: str, model: str = SEG_MODEL, user: Any = USER) -> dict[str, Any]:
    """``gate`` as in ``gate.json`` (docs/learning.md): figures by group, with intervals; 404 without one."""
    report = _report(model, version)
    pictures = pictures_of(Path(served().studies), report)
    gate = {**report["gate"], "pictures": pictures}
    return without_folders({"version": version, "gate": gate, "sentence": report.get("sentence")})


@router.get("/models/report/picture", summary="A frame of that comparison, as one model outlines it")
def model_report_picture(
    version: str,
    number: Annotated[int, Query(ge=0, le=MAX_COUNT)],
    side: Literal["published", "candidate"],
    model: str = SEG_MODEL,
    user: Any = USER,
) -> FileResponse:
    """JPEG; ``number`` is that in ``gate.pictures`` of the report. The rater's outline is amber."""
    file = picture_file(Path(served().studies), _report(model, version), number, side)
    if file is None:
        raise Refused(404, f"there is no picture {number} of version {version[:80]!r} of {model}")
    return FileResponse(file, media_type="image/jpeg", headers={"Cache-Control": "private, no-cache"})


def _report(model: str, version: str) -> dict[str, Any]:
    known_task(served()._infers, model)
    report = report_of(model, version) if valid_name(version) else {}
    if not isinstance(report.get("gate"), dict):
        raise Refused(404, f"there is no report of version {version[:80]!r} of {model}; GET /models/ lists them")
    return report


@router.post("/export/preview", summary="What an export would hold; nothing is written", openapi_extra=BODY)
async def export_preview(request: Request, params: JsonObject, user: Any = ADMIN) -> dict[str, Any]:
    """The data card of ``POST /export/`` with the same body. All selected cases are read."""
    app = served()

    def work(stopped: Stopped) -> dict[str, Any]:
        services = {name: task.serving.current() for name, task in app._infers.items()}
        with as_refusal():
            return without_folders(app.exports().preview(params, services, stopped))

    return await run_while_connected(request, work, inference_limiter())
