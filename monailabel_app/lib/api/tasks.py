"""What the calls for tasks in worker processes (training, scoring, batches) share: starting, showing, stopping."""

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
from monailabel_app.lib.api.common import served
from monailabel_app.lib.refusal import Refused
from monailabel_app.lib.shown_paths import shown_task
from monailabel_app.lib.workers import END_SECONDS, all_gone, left_workers

UNFINISHED = ("SUBMITTED", "RUNNING")
NAMES = {"train": "training", "scoring": "scoring", "batch_infer": "batch"}
CALLS = {"train": "/train/", "scoring": "/scoring/", "batch_infer": "/batch/infer"}
START_SECONDS = 10.0  # for the process of a task to be there
_starting = threading.Lock()


def start_task(method: str, request: Mapping[str, Any], *, enqueue: bool = False) -> dict[str, Any]:
    """Start a worker, or put it into the queue.

    Args:
        method: ``train``, ``scoring`` or ``batch_infer``.
        request: checked values only: MONAI Label makes environment variables of some, and repeats all in answers.
        enqueue: wait for the one that runs.

    Raises:
        Refused: 429 while one runs.
    """
    with _starting:
        # MONAI Label itself sees a task only once its process runs, and would queue a second one until then
        if not enqueue and any(task["status"] in UNFINISHED for task in tasks(method)):
            call = CALLS[method]
            raise Refused(
                429, f"a {NAMES[method]} is running already; GET {call} shows it, DELETE {call} stops it"
            )
        return shown_task(AsyncTask.run(method, request=dict(request), enqueue=True)[0])


def task_status(method: str, all: bool, check_if_running: bool) -> Any:
    """The last task of this server, or what runs in the studies folder though this server did not start it.

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
    """What this server did not start: left workers, and for training what the folder's own progress file says.

    Args:
        method: of the tasks.
        past: also a training that has ended.
    """
    studies = Path(served().studies)
    left = [worker.to_task() for worker in left_workers(studies, method)]
    if left or method != "train":
        return left
    found = read_progress(studies)
    ended = {"running": "RUNNING", "done": "DONE", "failed": "ERROR"}
    status = ended.get(found["state"], "STOPPED")
    if found["state"] == "none" or not (past or status == "RUNNING"):
        return []
    told = f"training {found.get('run')} of this folder, which this server did not start"
    if status == "STOPPED":
        told += ', was interrupted; POST /train/MODEL with {"resume": true} goes on with it'
    elif status == "RUNNING":
        told += f", runs in process {found.get('pid')}; whoever started it can stop it"
    details = [told, *([str(found["error"])] if found.get("error") else [])]
    return [{"id": f"run-{found.get('run')}", "status": status, "request": {}, "details": details}]


def _stop_own(method: str) -> dict[str, Any] | None:
    deadline = time.monotonic() + START_SECONDS
    while any(task["status"] in UNFINISHED for task in tasks(method)):
        # MONAI Label stops nothing before the process of a task is there
        if processes(method):
            with contextlib.suppress(psutil.Error, StopIteration, IndexError):  # it ends by itself just now
                top = psutil.Process(next(iter(processes(method).values())).pid)
                family = [*top.children(recursive=True), top]
                stopped = AsyncTask.stop(method)
                all_gone(family)  # until then its progress and its lock say that it runs
                return stopped
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return None


def stop_task(method: str) -> Any:
    """Stop the task of this server that runs, and what a killed server has left.

    Returns:
        The task that was stopped; an empty object when nothing ran.

    Raises:
        Refused: 409 when something runs that this server may not stop: another server's, or a command's.
    """
    stopped = _stop_own(method)
    for worker in left_workers(Path(served().studies), method):
        task = worker.to_task("STOPPED")
        if not worker.stop():
            raise Refused(409, f"{task['details'][0]}: it could not be killed; end it on the server's machine")
        stopped = stopped or task
    if stopped is not None:
        _wait_for_lock(method)
        return shown_task(stopped)
    for task in _others(method, past=False):
        raise Refused(409, task["details"][0])
    return {}


def _wait_for_lock(method: str) -> None:
    """Until the folder is free: threads of a killed process may hold its lock for a moment longer."""
    deadline = time.monotonic() + END_SECONDS
    while method == "train" and _others(method, past=False) and time.monotonic() < deadline:
        time.sleep(0.05)
