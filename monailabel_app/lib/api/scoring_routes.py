"""``/scoring``: MONAI Label's endpoints; keys of the body do not reach the worker process."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from monailabel_app.lib.api.dependencies import ANNOTATOR, USER, served
from monailabel_app.lib.api.worker_tasks import start_task, stop_task, task_status
from monailabel_app.lib.http.ids import check_known
from monailabel_app.lib.http.json_input import JsonObject, takes_json

router = APIRouter(prefix="/scoring", tags=["Scoring"])


@router.get("/", summary="Progress of the scoring: status and the last log lines")
def scoring_status(all: bool = False, check_if_running: bool = False, user: Any = USER) -> Any:
    """The last scoring (or all of them); 404 when none was started."""
    return task_status("scoring", all, check_if_running)


@router.post("/", summary="Run all scoring methods", include_in_schema=False, deprecated=True)
def scoring_all(params: JsonObject, run_sync: bool = False, user: Any = ANNOTATOR) -> Any:
    """As in MONAI Label: the answer of each method."""
    methods = sorted(served()._scoring_methods)
    return {method: {"result": scoring_run(params, method, run_sync, user), "detail": None} for method in methods}


@router.post("/{method}", summary="Score new and changed images", openapi_extra=takes_json({}))
def scoring_run(params: JsonObject, method: str, run_sync: bool = False, user: Any = ANNOTATOR) -> Any:
    """Start a worker. There are no options: keys of the body are ignored."""
    check_known("scoring method", method, served()._scoring_methods)
    if run_sync:
        return served().scoring({"method": method})
    return start_task("scoring", {"method": method})


@router.delete("/", summary="Stop the scoring")
def scoring_stop(user: Any = ANNOTATOR) -> Any:
    """Stop it, also one left by a killed server; empty when none runs."""
    return stop_task("scoring")
