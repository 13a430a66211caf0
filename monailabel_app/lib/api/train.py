"""``/train``: MONAI Label's own calls, refused with a sentence before a process is started."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from monailabel.utils.async_tasks.utils import processes

from monailabel_app.lib.api.common import ADMIN, USER, served
from monailabel_app.lib.api.tasks import start_task, stop_task, task_status
from monailabel_app.lib.ids import check_known
from monailabel_app.lib.json_input import JsonObject, takes_json
from monailabel_app.lib.refusal import Refused, as_refusal
from monailabel_app.lib.trainers import MODES, train_options

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
    """The last training (or all of them), also one that another server or a command has begun; 404 without any."""
    return task_status("train", all, check_if_running)


@router.post("/", summary="Run all trainings", include_in_schema=False, deprecated=True)
def train_all(params: JsonObject, run_sync: bool = False, user: Any = ADMIN) -> Any:
    """As in MONAI Label: options by model."""
    answers = {}
    models = sorted(served()._trainers)
    asked = {model: params.get(model) or {} for model in models}
    for model, options in asked.items():
        if not isinstance(options, dict):
            raise Refused(400, f"{model} is {str(options)[:80]!r}; a JSON object of its options is needed")
        train_options(options)
    for model, options in asked.items():
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
        raise Refused(400, "training runs in a process of its own here; leave run_sync out")
    if not processes("train"):  # else MONAI Label answers 429, or puts it into its queue
        with as_refusal():
            trainers[model].check(options)
    return start_task("train", {"model": model, **asdict(options)}, enqueue=enqueue)


@router.delete("/", summary="Stop the training")
def train_stop(user: Any = ADMIN) -> Any:
    """Stop it, also when it was left by a server that was killed; it can be resumed. Empty when none runs."""
    return stop_task("train")
