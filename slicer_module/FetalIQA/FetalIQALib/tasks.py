"""Work in threads, results on the main thread: nothing that waits for the server may hold up the window."""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from typing import Any, Callable

from FetalIQALib.failures import Failure
from FetalIQALib.http import Cancel
from FetalIQALib.texts import _

logger = logging.getLogger(__name__)

Work = Callable[[Cancel], Any]
Done = Callable[[Any], None]
Failed = Callable[[Failure], None]


class Task:
    """One piece of work in its thread."""

    def __init__(self, kind: str, done: Done, failed: Failed) -> None:
        self.kind = kind
        self.done = done
        self.failed = failed
        self.cancel = Cancel()


@dataclass
class Finished:
    """How a task ended."""

    task: Task
    result: Any = None
    failure: Failure | None = None


class TaskRunner:
    """Runs one task of each kind at a time. Only ``pump`` calls back, in the thread that calls it.

    Attributes:
        late: gets the kind of a task that was given up, once it has ended all the same.
    """

    def __init__(self) -> None:
        self.late: Callable[[str], object] = lambda kind: None
        self._running: dict[str, Task] = {}
        self._results: queue.Queue[Finished] = queue.Queue()

    def start(self, kind: str, work: Work, done: Done, failed: Failed) -> bool:
        """Start ``work(cancel)`` in a thread; False, and nothing happens, while one of its kind runs.

        Args:
            kind: what may run only once at a time.
            work: gets the event that tells it to give up; must not touch Slicer or Qt.
            done: gets what ``work`` returned.
            failed: gets the failure it ended with.
        """
        if kind in self._running:
            return False
        task = Task(kind, done, failed)
        self._running[kind] = task
        threading.Thread(target=self._run, args=(task, work), name=f"FetalIQA {kind}", daemon=True).start()
        return True

    def busy(self, kind: str | None = None) -> bool:
        """Whether a task of this kind, or any, is under way."""
        return bool(self._running) if kind is None else kind in self._running

    def cancel(self, kind: str) -> None:
        """Give up a task: its result is never delivered, and another of its kind may start at once."""
        task = self._running.pop(kind, None)
        if task is not None:
            task.cancel.set()

    def cancel_all(self) -> None:
        """Give up everything, as when the module is left for good."""
        for kind in list(self._running):
            self.cancel(kind)

    def pump(self) -> int:
        """Deliver the results that are there; returns how many."""
        delivered = 0
        while True:
            try:
                finished = self._results.get_nowait()
            except queue.Empty:
                return delivered
            task = finished.task
            if self._running.get(task.kind) is not task:  # given up meanwhile
                self.late(task.kind)
                continue
            del self._running[task.kind]
            delivered += 1
            if finished.failure is None:
                task.done(finished.result)
            else:
                task.failed(finished.failure)

    def _run(self, task: Task, work: Work) -> None:
        finished = Finished(task)
        try:
            finished.result = work(task.cancel)
        except Failure as problem:
            finished.failure = problem
        except Exception as problem:
            logger.exception("task %s", task.kind)
            finished.failure = Failure(
                _("An error in the module ({kind}); the Python console says more. Your work is safe.").format(
                    kind=type(problem).__name__
                )
            )
        self._results.put(finished)
