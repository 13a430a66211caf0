"""``/batch/infer``: assess the studies folder in a worker process."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from monailabel.utils.async_tasks.task import AsyncTask

from fetaliqa.inference import AssessOptions
from monailabel_app.lib.api.dependencies import ADMIN, USER, served
from monailabel_app.lib.api.inference_routes import OPTION_SCHEMAS
from monailabel_app.lib.api.worker_tasks import start_task, stop_task, task_status
from monailabel_app.lib.http.json_input import JsonObject, takes_json
from monailabel_app.lib.http.path_redaction import shown_task
from monailabel_app.lib.http.refusal import Refused, as_refusal
from monailabel_app.lib.tasks.batch_task import batch_images
from monailabel_app.lib.tasks.inference_request import mask_suffix
from monailabel_app.lib.tasks.inference_task import known_task

router = APIRouter(prefix="/batch", tags=["Infer"])

# nothing else reaches the worker process: MONAI Label would turn some keys into environment variables
BATCH_KEYS = (*AssessOptions.__dataclass_fields__, "images", "result_extension", "max_batch_size")

BODY = takes_json(
    {
        **OPTION_SCHEMAS,
        "images": {"type": "array", "items": {"type": "string"}},
        "max_batch_size": {"type": "integer", "minimum": 0},
    }
)


@router.get("/infer", summary="Progress of the batch: status and the last log lines")
def batch_status(all: bool = False, check_if_running: bool = False, user: Any = USER) -> Any:
    """The last batch (or all of them); 404 when none has run."""
    return task_status("batch_infer", all, check_if_running)


@router.post("/infer/{model}", summary="Assess images ahead", openapi_extra=BODY)
def batch_run(
    body: JsonObject,
    model: str,
    images: Literal["all", "labeled", "unlabeled"] = "all",
    run_sync: bool = False,
    user: Any = ADMIN,
) -> Any:
    """Start a worker that assesses the images one by one into the cache; no label is stored."""
    app = served()
    task = known_task(app._infers, model)
    if body.get("model", model) != model or "image" in body:
        raise Refused(400, "model and image are not allowed in the body; use the URL, or images=[IDs]")
    options = {key: body[key] for key in BATCH_KEYS if body.get(key) is not None}
    for image in batch_images(options) or []:
        app.datastore().image_path(image)
    with as_refusal():
        task.serving.peek().check_options(AssessOptions.from_request(options))
        mask_suffix(options.get("result_extension"))
    size = options.get("max_batch_size", 0)
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise Refused(400, f"max_batch_size is {size!r}; it must be a whole number, 0 for no limit")
    request = {"model": model, "images": images, **options}
    if run_sync:
        return shown_task(AsyncTask.run("batch_infer", request=request, force_sync=True)[0])
    return start_task("batch_infer", request)


@router.delete("/infer", summary="Stop the batch")
def batch_stop(user: Any = ADMIN) -> Any:
    """Stop the running batch; results stay in the cache."""
    return stop_task("batch_infer")
