"""Start, status and stop of tasks in worker processes (training, scoring, batches)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import processes, tasks

from fetaliqa.retraining.progress_file import read_progress
from monailabel_app.lib.api.dependencies import served
from monailabel_app.lib.http.path_redaction import shown_task
from monailabel_app.lib.http.refusal import Refused
from monailabel_app.lib.tasks.worker_processes import END_SECONDS, orphaned_workers, wait_until_gone

UNFINISHED = ("SUBMITTED", "RUNNING")
NAMES = {"train": "training", "scoring": "scoring", "batch_infer": "batch"}
CALLS = {"train": "/train/", "scoring": "/scoring/", "batch_infer": "/batch/infer"}
START_SECONDS = 10.0  # for the process of a task to start
_starting = threading.Lock()


def start_task(method: str, request: Mapping[str, Any], *, enqueue: bool = False) -> dict[str, Any]:
    """Start a worker, or queue it.

    Args:
        method: ``train``, ``scoring`` or ``batch_infer``.
        request: checked values: MONAI Label makes environment variables of some, and repeats all in responses.
        enqueue: wait for the running task.

    Raises:
        Refused: 429 while one runs.
    """
    with _starting:
        # MONAI Label itself sees a task only once its process runs, and would queue a second one until then
        if not enqueue and any(task["status"] in UNFINISHED for task in tasks(method)):
            call = CALLS[method]
            raise Refused(
                429, f"a {NAMES[method]} is running already; see GET {call}, or stop it with DELETE {call}"
            )
        return shown_task(AsyncTask.run(method, request=dict(request), enqueue=True)[0])


def task_status(method: str, all: bool, check_if_running: bool) -> Any:
    """The last task of this server, or one of the studies folder that it did not start.

    Raises:
        Refused: 404 when there is none.
    """
    own = list(tasks(method))
    running = [task for task in own if task["status"] in UNFINISHED]
    others = [] if running else _others(method, past=not own)
    if check_if_running:
        if not (running or others):
            raise Refused(404, f"no {NAMES[method]} is running")
        return shown_task((running or others)[0])
    shown = [*own, *others]
    if not shown:
        raise Refused(404, f"no {NAMES[method]} was started")
    return shown_task(shown if all else shown[-1])


def _others(method: str, *, past: bool) -> list[dict[str, Any]]:
    """Tasks that this server did not start: orphaned workers, and trainings in the folder's progress file.

    Args:
        method: of the tasks.
        past: include a training that has ended.
    """
    studies = Path(served().studies)
    orphans = [worker.to_task() for worker in orphaned_workers(studies, method)]
    if orphans or method != "train":
        return orphans
    progress = read_progress(studies)
    ended = {"running": "RUNNING", "done": "DONE", "failed": "ERROR"}
    status = ended.get(progress["state"], "STOPPED")
    if progress["state"] == "none" or not (past or status == "RUNNING"):
        return []
    detail = f"training {progress.get('run')} of this folder, which this server did not start"
    if status == "STOPPED":
        detail += ', was interrupted; POST /train/MODEL with {"resume": true} resumes it'
    elif status == "RUNNING":
        detail += f", runs in process {progress.get('pid')}; stop it where it was started"
    details = [detail, *([str(progress["error"])] if progress.get("error") else [])]
    return [{"id": f"run-{progress.get('run')}", "status": status, "request": {}, "details": details}]


def _stop_own(method: str) -> dict[str, Any] | None:
    deadline = time.monotonic() + START_SECONDS
    while any(task["status"] in UNFINISHED for task in tasks(method)):
        # MONAI Label stops nothing before the process of a task is there
        if processes(method):
            with contextlib.suppress(psutil.Error, StopIteration, IndexError):  # it is just ending
                parent = psutil.Process(next(iter(processes(method).values())).pid)
                family = [*parent.children(recursive=True), parent]
                stopped = AsyncTask.stop(method)
                wait_until_gone(family)  # until then its progress file and lock are those of a running task
                return stopped
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return None


def stop_task(method: str) -> Any:
    """Stop the running task of this server, and orphaned workers.

    Returns:
        The task that was stopped; an empty object when nothing ran.

    Raises:
        Refused: 409 for a running task of another server or of a command.
    """
    stopped = _stop_own(method)
    for worker in orphaned_workers(Path(served().studies), method):
        task = worker.to_task("STOPPED")
        if not worker.stop():
            raise Refused(409, f"{task['details'][0]}: it could not be killed; kill it on the server's machine")
        stopped = stopped or task
    if stopped is not None:
        _wait_for_lock(method)
        return shown_task(stopped)
    for task in _others(method, past=False):
        raise Refused(409, task["details"][0])
    return {}


def _wait_for_lock(method: str) -> None:
    """Wait until the folder is unlocked: threads of a killed process may hold the lock for a moment."""
    deadline = time.monotonic() + END_SECONDS
    while method == "train" and _others(method, past=False) and time.monotonic() < deadline:
        time.sleep(0.05)
