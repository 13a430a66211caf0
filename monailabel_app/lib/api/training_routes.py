"""``/train``: MONAI Label's endpoints; requests are checked before a process is started."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from monailabel.utils.async_tasks.utils import processes

from monailabel_app.lib.api.dependencies import ADMIN, USER, served
from monailabel_app.lib.api.worker_tasks import start_task, stop_task, task_status
from monailabel_app.lib.http.ids import check_known
from monailabel_app.lib.http.json_input import JsonObject, takes_json
from monailabel_app.lib.http.refusal import Refused, as_refusal
from monailabel_app.lib.tasks.retraining_task import MODES, train_options

router = APIRouter(prefix="/train", tags=["Train"])

BODY = takes_json(
    {
        "mode": {"type": "string", "enum": list(MODES)},
        "resume": {"type": "boolean"},
        "publish": {"type": "boolean"},
    }
)


@router.get("/", summary="Progress of the training: status and the last log lines")
def train_status(all: bool = False, check_if_running: bool = False, user: Any = USER) -> Any:
    """The last training (or all of them), also one that this server did not start; 404 when there is none."""
    return task_status("train", all, check_if_running)


@router.post("/", summary="Run all trainings", include_in_schema=False, deprecated=True)
def train_all(params: JsonObject, run_sync: bool = False, user: Any = ADMIN) -> Any:
    """As in MONAI Label: options by model."""
    answers = {}
    models = sorted(served()._trainers)
    options_by_model = {model: params.get(model) or {} for model in models}
    for model, options in options_by_model.items():
        if not isinstance(options, dict):
            raise Refused(400, f"{model} is {str(options)[:80]!r}; a JSON object of its options is needed")
        train_options(options)
    for model, options in options_by_model.items():
        answers[model] = {"result": train_model(options, model, run_sync, False, user), "detail": None}
    return answers


@router.post("/{model}", summary="Retrain a model on the confirmed labels", openapi_extra=BODY)
def train_model(
    params: JsonObject,
    model: str,
    run_sync: bool = False,
    enqueue: bool = False,
    user: Any = ADMIN,
) -> Any:
    """Start a training; options ``mode`` (quick, full), ``resume``, ``publish`` (docs/learning.md)."""
    trainers = served()._trainers
    check_known("trainer", model, trainers)
    options = train_options(params)
    if run_sync:
        raise Refused(400, "training always runs in a worker process; leave run_sync out")
    if not processes("train"):  # otherwise MONAI Label answers 429, or queues it
        with as_refusal():
            trainers[model].check(options)
    return start_task("train", {"model": model, **asdict(options)}, enqueue=enqueue)


@router.delete("/", summary="Stop the training")
def train_stop(user: Any = ADMIN) -> Any:
    """Stop it, also one left by a killed server; it can be resumed. Empty when none runs."""
    return stop_task("train")
