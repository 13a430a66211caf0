"""``/fetaliqa/v1``: the gate's report of a model version, and what an export would hold."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from fetaliqa.inference.shared_requests import Stopped
from fetaliqa.model.bundle_names import valid_name
from fetaliqa.registry.model_store import report_of
from monailabel_app.lib.api.dependencies import ADMIN, USER, served
from monailabel_app.lib.api.export_routes import BODY
from monailabel_app.lib.api.inference_routes import inference_limiter
from monailabel_app.lib.api.v1 import PREFIX
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
    known_task(served()._infers, model)
    report = report_of(model, version) if valid_name(version) else {}
    if not isinstance(report.get("gate"), dict):
        raise Refused(404, f"there is no report of version {version[:80]!r} of {model}; GET /models/ lists them")
    return without_folders({"version": version, "gate": report["gate"], "sentence": report.get("sentence")})


@router.post("/export/preview", summary="What an export would hold; nothing is written", openapi_extra=BODY)
async def export_preview(request: Request, params: JsonObject, user: Any = ADMIN) -> dict[str, Any]:
    """The data card of ``POST /export/`` with the same body. All selected cases are read."""
    app = served()

    def work(stopped: Stopped) -> dict[str, Any]:
        services = {name: task.serving.current() for name, task in app._infers.items()}
        with as_refusal():
            return without_folders(app.exports().preview(params, services, stopped))

    return await run_while_connected(request, work, inference_limiter())
