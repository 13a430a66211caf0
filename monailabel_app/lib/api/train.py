"""``POST /train``: MONAI Label's own call, refused with a sentence before a process is started."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from monailabel.endpoints import train
from monailabel.utils.async_tasks.utils import processes

from monailabel_app.lib.api.common import ADMIN, served
from monailabel_app.lib.ids import check_known
from monailabel_app.lib.refusal import Refused, as_refusal
from monailabel_app.lib.shown_paths import shown_task
from monailabel_app.lib.trainers import train_options

router = APIRouter(prefix="/train", tags=["Train"])


@router.post("/", summary="Run all trainings", include_in_schema=False, deprecated=True)
def train_all(params: dict | None = None, run_sync: bool = False, user: Any = ADMIN) -> Any:
    """As in MONAI Label: options by model."""
    answers = {}
    models = sorted(served()._trainers)
    asked = {model: (params or {}).get(model) or {} for model in models}
    for model, options in asked.items():
        if not isinstance(options, dict):
            raise Refused(400, f"{model} is {str(options)[:80]!r}; a JSON object of its options is needed")
        train_options(options)
    for model, options in asked.items():
        answers[model] = {"result": train_model(model, options, run_sync, False, user), "detail": None}
    return answers


@router.post("/{model}", summary="Retrain a model on the confirmed labels")
def train_model(
    model: str,
    params: dict | None = None,
    run_sync: bool = False,
    enqueue: bool = False,
    user: Any = ADMIN,
) -> Any:
    """Start a training; options ``mode`` (quick, full), ``resume``, ``publish`` (docs/learning.md)."""
    trainers = served()._trainers
    check_known("trainer", model, trainers)
    options = train_options(params or {})
    if run_sync:
        raise Refused(400, "training runs in a process of its own here; leave run_sync out")
    if not processes("train"):  # else MONAI Label answers 429, or puts it into its queue
        with as_refusal():
            trainers[model].check(options)
    return shown_task(train.run_model(model, params, False, enqueue))
