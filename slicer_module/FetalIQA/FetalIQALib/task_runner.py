"""Tasks in threads, results on the main thread: the window never waits for the server."""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from typing import Any, Callable

from FetalIQALib.client_errors import FetalIQAError
from FetalIQALib.http_client import Cancel
from FetalIQALib.translation import _

logger = logging.getLogger(__name__)

TaskFunction = Callable[[Cancel], Any]
Done = Callable[[Any], None]
Failed = Callable[[FetalIQAError], None]


class Task:
    """A task in its thread."""

    def __init__(self, kind: str, done: Done, failed: Failed) -> None:
        self.kind = kind
        self.done = done
        self.failed = failed
        self.cancel = Cancel()


@dataclass
class Finished:
    """Result or error of a task."""

    task: Task
    result: Any = None
    failure: FetalIQAError | None = None


class TaskRunner:
    """Runs one task of each kind at a time. Callbacks run in ``pump``, in the thread that calls it.

    Attributes:
        on_late_result: called with the kind of a canceled task when its thread has ended.
    """

    def __init__(self) -> None:
        self.on_late_result: Callable[[str], object] = lambda kind: None
        self._running: dict[str, Task] = {}
        self._results: queue.Queue[Finished] = queue.Queue()
        self._threads = 0  # also of canceled tasks

    def start(self, kind: str, function: TaskFunction, done: Done, failed: Failed) -> bool:
        """Start ``function(cancel)`` in a thread; returns False without starting if a task of this kind runs.

        Args:
            kind: only one task of a kind runs at a time.
            function: called with an event that is set on cancellation; must not use Slicer or Qt.
            done: called with the result.
            failed: called with the error.
        """
        if kind in self._running:
            return False
        task = Task(kind, done, failed)
        self._running[kind] = task
        self._threads += 1
        threading.Thread(target=self._run, args=(task, function), name=f"FetalIQA {kind}", daemon=True).start()
        return True

    def busy(self, kind: str | None = None) -> bool:
        """Whether a task of this kind, or of any kind, is running."""
        return bool(self._running) if kind is None else kind in self._running

    def cancel(self, kind: str) -> None:
        """Cancel a task: its result is discarded, and another of its kind may start at once."""
        task = self._running.pop(kind, None)
        if task is not None:
            task.cancel.set()

    def cancel_all(self) -> None:
        """Cancel all tasks."""
        for kind in list(self._running):
            self.cancel(kind)

    def pump(self, wait: float = 0.0) -> int:
        """Deliver available results; returns their number.

        Args:
            wait: seconds to wait for a first result while threads run. Slicer holds the interpreter lock around
                its event loop, so that threads run only while its main thread waits in Python.
        """
        delivered = 0
        while True:
            try:
                finished = (
                    self._results.get(timeout=wait) if wait and self._threads else self._results.get_nowait()
                )
            except queue.Empty:
                return delivered
            wait = 0.0
            self._threads -= 1
            task = finished.task
            if self._running.get(task.kind) is not task:  # canceled in the meantime
                self.on_late_result(task.kind)
                continue
            del self._running[task.kind]
            delivered += 1
            if finished.failure is None:
                task.done(finished.result)
            else:
                task.failed(finished.failure)

    def _run(self, task: Task, function: TaskFunction) -> None:
        finished = Finished(task)
        try:
            finished.result = function(task.cancel)
        except FetalIQAError as problem:
            finished.failure = problem
        except Exception as problem:
            logger.exception("task %s", task.kind)
            finished.failure = FetalIQAError(
                _("Internal error ({kind}); see the Python console. Your work is saved.").format(
                    kind=type(problem).__name__
                )
            )
        self._results.put(finished)
