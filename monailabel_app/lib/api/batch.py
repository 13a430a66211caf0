"""``/batch/infer``: assess the studies folder ahead, with progress."""

from __future__ import annotations

import threading
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body
from monailabel.endpoints import batch_infer as stock
from monailabel.utils.async_tasks.utils import tasks

from fetaliqa.inference import AssessOptions
from monailabel_app.lib.api.common import ADMIN, USER, served
from monailabel_app.lib.batch import batch_images
from monailabel_app.lib.infers import known_task, mask_suffix
from monailabel_app.lib.refusal import Refused, as_refusal
from monailabel_app.lib.shown_paths import shown_task

router = APIRouter(prefix="/batch", tags=["Infer"])

# Nothing else reaches the worker process: MONAI Label would turn some keys into its environment
BATCH_KEYS = (*AssessOptions.__dataclass_fields__, "images", "result_extension", "max_batch_size")

UNFINISHED = ("SUBMITTED", "RUNNING")
_starting = threading.Lock()


@router.get("/infer", summary="Progress of the batch: status and the last log lines")
def batch_status(all: bool = False, check_if_running: bool = False, user: Any = USER) -> Any:
    """The last batch (or all of them); 404 when none has run."""
    return shown_task(stock.status(all, check_if_running))


@router.post("/infer/{model}", summary="Assess images ahead")
def batch_run(
    model: str,
    images: Literal["all", "labeled", "unlabeled"] = "all",
    params: Annotated[dict[str, Any] | None, Body()] = None,
    run_sync: bool = False,
    user: Any = ADMIN,
) -> Any:
    """Start a worker that assesses the images one by one into the cache; no label is stored."""
    app = served()
    task = known_task(app._infers, model)
    given = params or {}
    if given.get("model", model) != model or "image" in given:
        raise Refused(400, "params may not name a model or an image; use the address, or images=[IDs]")
    options = {key: given[key] for key in BATCH_KEYS if given.get(key) is not None}
    for image in batch_images(options) or []:
        app.datastore().image_path(image)
    with as_refusal():
        task.serving.peek().check_options(AssessOptions.from_request(options))
        mask_suffix(options.get("result_extension"))
    size = options.get("max_batch_size", 0)
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise Refused(400, f"max_batch_size is {size!r}; it must be a whole number, 0 for no limit")
    if run_sync:
        return shown_task(stock.run(model, stock.BatchInferImageType(images), options, run_sync))
    with _starting:
        # MONAI Label itself sees a batch only once its process runs, and would queue a second one until then
        if any(task["status"] in UNFINISHED for task in tasks("batch_infer")):
            raise Refused(
                429, "a batch is running already; GET /batch/infer shows it, DELETE /batch/infer stops it"
            )
        return shown_task(stock.run(model, stock.BatchInferImageType(images), options))


@router.delete("/infer", summary="Stop the batch")
def batch_stop(user: Any = ADMIN) -> Any:
    """Stop the running batch; what is assessed stays in the cache."""
    return shown_task(stock.stop()) or {}
