"""The models as MONAI Label inference tasks, adapters of ``fetaliqa.inference``."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from fetaliqa.errors import NotFoundError, OptionError
from fetaliqa.inference import AssessOptions
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.inference.devices import auto_trouble, choose_device, cuda_devices
from fetaliqa.inference.shared_requests import Stopped
from fetaliqa.model.user_folders import default_model
from fetaliqa.registry import AssessmentService
from fetaliqa.registry.assessment_setup import default_cache_directory
from fetaliqa.registry.model_store import current_version, published_versions
from monailabel_app.lib.files.scratch import scratch
from monailabel_app.lib.http.refusal import Refused, as_refusal
from monailabel_app.lib.startup.conf import CLS_MODEL, SEG_MODEL, ServerConf
from monailabel_app.lib.tasks.inference_request import InferenceRequest
from monailabel_app.lib.tasks.served_model import ServedModel

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0  # between two log lines of one case
_DESCRIPTIONS = {
    "segmentation": "Outlines the {anatomy} in a blind sweep, measures {measurement}, ranks the frames",
    "classification": "Ranks the frames of a blind sweep by the probability that they show the {anatomy}",
}


class SweepTask(InferTask):
    """One model as an inference task: a whole stack of frames in, a mask stack and an assessment out.

    Args:
        serving: the model in use.
        follows: whether a newly published version is served.
    """

    def __init__(self, serving: ServedModel, follows: bool = False) -> None:
        self.serving, self.follows = serving, follows
        # called with the request and the result before its masks are given to a client
        self.on_masks_sent: Callable[[InferenceRequest, AssessmentResult], None] = lambda *_: None
        self.is_segmentation = self.model["task"] == "segmentation"
        super().__init__(
            type=InferType.SEGMENTATION if self.is_segmentation else InferType.CLASSIFICATION,
            labels={self.model["anatomy"]: 1},
            dimension=3,
            description=_DESCRIPTIONS[self.model["task"]].format(**self.model),
            config={"top_n": AssessOptions().top_n},
        )

    @property
    def model(self) -> dict[str, Any]:
        """The model in use: name, version, task, anatomy, measurement."""
        return self.serving.peek().model_info()

    def info(self) -> dict[str, Any]:
        return {**super().info(), "fetaliqa": self.model, "computed_on": self.serving.peek().computed_on()}

    def is_valid(self) -> bool:
        return True

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """As :meth:`infer`, of the sweep at path ``request["image"]``; what MONAI Label calls."""
        return self.infer(InferenceRequest.of(request, Path(request["image"])))

    def infer(
        self, request: InferenceRequest, stopped: Stopped | None = None
    ) -> tuple[str | None, dict[str, Any]]:
        """Assess a sweep.

        Args:
            request: the sweep, and how it is assessed.
            stopped: asked after each batch whether the client has gone.

        Returns:
            Path of a temporary mask file the caller removes (None when the task makes no masks or the output is
            ``json``), and the params of the answer.

        Raises:
            Refused: when the file or an option cannot be used.
        """
        with as_refusal():
            started = time.perf_counter()
            progress = _progress_log(request.name)
            service = self.serving.current()
            result = service.assess(
                request.path, request.options, progress=progress, stopped=stopped, age=request.age
            )
            return self._reply(request, result, started)

    def cached(self, request: InferenceRequest) -> tuple[str | None, dict[str, Any]] | None:
        """As :meth:`infer`, when nothing has to be computed; else None.

        Raises:
            Refused: when an option cannot be used.
        """
        with as_refusal():
            started = time.perf_counter()
            result = self.serving.current().cached(request.path, request.options, request.age)
            return None if result is None else self._reply(request, result, started)

    def _reply(
        self, request: InferenceRequest, result: AssessmentResult, started: float
    ) -> tuple[str | None, dict[str, Any]]:
        assessed = time.perf_counter()
        target = None
        if self.is_segmentation and request.output != "json":
            self.on_masks_sent(request, result)
            target = _write_temporary(result, request.mask_suffix)
        finished = time.perf_counter()
        latencies = {
            "assess": round(assessed - started, 3),
            "write": round(finished - assessed, 3),
            "total": round(finished - started, 3),
        }
        logger.info(
            "%s: cached=%s, best frame %s, %s s", request.name, result.cached, result.assessment["best"], latencies
        )
        return target, {
            "label_names": dict(self.labels),
            "cached": result.cached,
            "latencies": latencies,
            "fetaliqa": result.assessment,
        }


def _progress_log(name: str) -> Any:
    """A progress callback that logs every few seconds; clients see these lines of a batch."""
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            logger.info("%s: %d of %d frames", name, done, total)

    return progress


def _write_temporary(result: Any, suffix: str) -> str:
    target = scratch.mask_file(suffix)
    written = False
    try:
        result.write_masks(target)
        written = True
    finally:
        if not written:
            scratch.discard(target)
    return str(target)


def published_spec() -> str:
    """The segmentation bundle to serve by default: the published version, else the default bundle."""
    version = current_version(SEG_MODEL)
    return default_model() if version is None else f"{SEG_MODEL}@{version}"


def published_before() -> list[str]:
    """Replacements for a damaged published version: earlier versions, newest first, then the default bundle."""
    now = current_version(SEG_MODEL)
    earlier = [version for version in reversed(published_versions(SEG_MODEL)) if version != now]
    return [*(f"{SEG_MODEL}@{version}" for version in earlier), default_model()]


def make_tasks(conf: ServerConf) -> dict[str, SweepTask]:
    """The models to host: those of ``--conf models``, or all whose bundle is present.

    Raises:
        FetalIQAError: when a requested bundle is missing or unusable.
    """
    _check_devices(conf)
    cls = conf.cls_bundle or (CLS_MODEL if current_version(CLS_MODEL) else None)
    names = conf.models or ((SEG_MODEL,) if cls is None else (SEG_MODEL, CLS_MODEL))
    if CLS_MODEL in names and cls is None:
        raise NotFoundError(
            f"model {CLS_MODEL} is requested, but there is no classification bundle; see --conf cls_bundle"
        )
    cache_dir = None
    if conf.cache_bytes:
        cache_dir = conf.cache_dir or default_cache_directory()
    tasks = {}
    for model in names:
        make = functools.partial(
            AssessmentService,
            classifier=cls if model == SEG_MODEL else None,
            device=conf.device,
            precision=conf.precision,
            cache_dir=cache_dir,
            cache_bytes=conf.cache_bytes,
        )
        chosen = conf.bundle if model == SEG_MODEL else cls
        follows = model == SEG_MODEL and conf.bundle is None
        spec = published_spec if follows else functools.partial(str, chosen)
        task = SweepTask(ServedModel(make, spec, published_before if follows else tuple), follows)
        expected = "segmentation" if model == SEG_MODEL else "classification"
        if task.model["task"] != expected:
            raise OptionError(f"bundle {task.model['name']} is for {task.model['task']}; {model} needs {expected}")
        hardware = task.serving.peek().computed_on()
        on = str(hardware["device"]) if hardware["card"] is None else f"{hardware['device']} ({hardware['card']})"
        why = auto_trouble() if conf.device == "auto" else None
        on += "" if why is None else f", as {why},"
        logger.info("%s: %s runs on %s in %s", model, task.model["name"], on, hardware["precision"])
        tasks[model] = task
    return tasks


def _check_devices(conf: ServerConf) -> None:
    """Raise OptionError where a configured device is missing, or cannot be used."""
    device = choose_device(conf.device)
    count = cuda_devices()
    if device.type == "cuda" and conf.train_devices > count:
        raise OptionError(f"--conf train_devices {conf.train_devices}: this machine has {count} CUDA devices")


def known_task(tasks: Mapping[str, SweepTask], model: Any) -> SweepTask:
    """The task of a model.

    Raises:
        Refused: 404 for a model that is not hosted.
    """
    if model not in tasks:
        raise Refused(404, f"there is no model {str(model)[:80]!r} here; known: {', '.join(tasks)}")
    return tasks[model]
