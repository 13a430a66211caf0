"""``--conf auto_retrain N``: starts a quick training after N newly confirmed frames."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import processes

from fetaliqa.errors import FetalIQAError
from fetaliqa.retraining.new_labels import newly_confirmed
from monailabel_app.lib.startup.conf import SEG_MODEL
from monailabel_app.lib.tasks.retraining_task import RetrainTask, TrainOptions

logger = logging.getLogger(__name__)


WATCH_SECONDS = 60.0  # labels also change by reviews, by the command line, and while a training runs


class AutoRetrain:
    """Counts frames confirmed since the last training, at each saved label and every minute.

    Args:
        task: the training task.
        frames: newly confirmed frames that start a training; 0: never.
    """

    def __init__(self, task: RetrainTask, frames: int) -> None:
        self._task, self._frames = task, frames
        self._lock = threading.Lock()
        self._tried: int | None = None  # count at which a training was started; a failed one is not repeated
        self._last_message = ""
        self._closed = threading.Event()

    def watch(self) -> None:
        """Start counting every minute."""
        if self._frames:
            threading.Thread(target=self._watch, name="auto-retrain-watch", daemon=True).start()

    def _watch(self) -> None:
        while not self._closed.is_set():  # only closing ends this thread: _count lets no exception out
            self._count()
            self._closed.wait(WATCH_SECONDS)

    def close(self) -> None:
        """Stop counting."""
        self._closed.set()

    def label_saved(self) -> None:
        """Count, in a thread."""
        if self._frames:
            threading.Thread(target=self._count, name="auto-retrain", daemon=True).start()

    def _count(self) -> None:
        with self._lock:
            try:
                new = newly_confirmed(Path(self._task.studies))
                if new < self._frames or new == self._tried or processes("train"):
                    return
                self._task.check(TrainOptions())
                request: dict[str, Any] = {"model": SEG_MODEL, "mode": "quick"}
                AsyncTask.run("train", request=request)
            except (FetalIQAError, OSError) as problem:
                if self._is_new(problem):
                    logger.info("no automatic training yet: %s", problem)
                return
            except Exception as problem:
                if self._is_new(problem):
                    logger.exception("newly confirmed frames could not be counted, or no training started")
                return
            self._tried, self._last_message = new, ""
            logger.info("%d newly confirmed frames: a quick training starts automatically", new)

    def _is_new(self, problem: Exception) -> bool:
        """Whether this differs from the last logged problem, so that it is logged once, not every minute."""
        message = f"{type(problem).__name__}: {problem}"
        before, self._last_message = self._last_message, message
        return message != before
