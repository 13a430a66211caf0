"""Deduplication of simultaneous requests: one computes, the others wait, within and across processes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from filelock import FileLock, Timeout

from fetaliqa.errors import RequestStopped

Value = TypeVar("Value")
Progress = Callable[[int, int], None]  # (done, in all)
Stopped = Callable[[], bool]  # whether the client has disconnected

POLL_SECONDS = 0.25  # interval at which a waiting request checks whether it was stopped


class SharedWork(Generic[Value]):
    """Work that is done once for all simultaneous requests.

    The first request computes in its own thread; the others wait. An error is raised in all of them. The work is
    stopped only when all requests are stopped: one that disconnects does not affect the others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _Work[Value]] = {}

    def run(
        self,
        key: str,
        compute: Callable[[Progress], Value],
        progress: Progress | None = None,
        stopped: Stopped | None = None,
    ) -> tuple[Value, bool]:
        """Compute, or wait for a request that computes it already.

        Args:
            key: what is computed.
            compute: computes, and calls its argument with the progress, which raises when the work is stopped.
            progress: called with the progress; an exception that it raises ends this request only.
            stopped: polled for whether this request was stopped; None if it never is.

        Returns:
            The value, and whether it was computed here.

        Raises:
            RequestStopped: when this request was stopped.
        """
        while True:
            with self._lock:
                work = self._running.get(key)
                leads = work is None
                if work is None:
                    work = self._running[key] = _Work()
                request = work.join(stopped)
            if leads:
                return self._lead(key, work, request, compute, progress), True
            if work.await_end(request, progress):
                return work.value(), False

    def _lead(
        self,
        key: str,
        work: _Work[Value],
        request: _Request,
        compute: Callable[[Progress], Value],
        progress: Progress | None,
    ) -> Value:
        callback_errors: list[Exception] = []  # raised by this request's callback while others waited

        def report(done: int, total: int) -> None:
            work.report(done, total)
            if work.abandoned():
                raise RequestStopped()
            if progress is None or callback_errors:
                return
            try:
                progress(done, total)
            except Exception as problem:
                request.gone = True
                if work.abandoned():
                    raise
                callback_errors.append(problem)

        error: BaseException | None = None
        try:
            value = compute(report)
            work.values.append(value)
        except BaseException as problem:
            error = problem
            raise
        finally:
            with self._lock:
                del self._running[key]
            # an error that ended this request alone (it was stopped or interrupted) is not shared
            shared = isinstance(error, Exception) and not isinstance(error, RequestStopped) and not request.gone
            work.end(error if shared else None)
        if callback_errors:
            raise callback_errors[0]
        return value


class _Request:
    """One request for a piece of work."""

    def __init__(self, stopped: Stopped | None) -> None:
        self._stopped = stopped
        self.gone = False

    def is_stopped(self) -> bool:
        self.gone = self.gone or (self._stopped is not None and self._stopped())
        return self.gone


class _Work(Generic[Value]):
    """Work in progress, and the requests for it."""

    def __init__(self) -> None:
        self.values: list[Value] = []  # the value, once it is computed
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._requests: list[_Request] = []
        self._progress: tuple[int, int] | None = None

    def join(self, stopped: Stopped | None) -> _Request:
        request = _Request(stopped)
        self._requests.append(request)
        return request

    def abandoned(self) -> bool:
        """Whether all requests were stopped."""
        return all(request.is_stopped() for request in list(self._requests))

    def report(self, done: int, total: int) -> None:
        self._progress = done, total

    def end(self, error: BaseException | None) -> None:
        self._error = error
        self._ended.set()

    def value(self) -> Value:
        """The value, or the error that ended the work."""
        if self._error is not None:
            raise self._error
        return self.values[0]

    def await_end(self, request: _Request, progress: Progress | None) -> bool:
        """Wait; False when the work ended without a value or an error that concerns this request."""
        reported = None
        try:
            while not self._ended.wait(POLL_SECONDS):
                if request.is_stopped():
                    raise RequestStopped()
                if progress is not None and self._progress != reported:
                    reported = self._progress
                    assert reported is not None
                    progress(*reported)
        except BaseException:
            request.gone = True
            raise
        return bool(self.values) or self._error is not None


@contextlib.contextmanager
def alone(lock_file: Path | None, stopped: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Context that only one process at a time is in, for each lock file.

    If the file cannot be locked (read-only folder, file system without locks), the block runs without a lock: at
    worst something is computed twice.

    Args:
        lock_file: file to lock; None to run without a lock.
        stopped: called regularly while waiting; an exception that it raises ends the waiting.
    """
    with contextlib.ExitStack() as stack:
        while lock_file is not None:
            try:
                lock_file.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(lock_file, timeout=POLL_SECONDS, thread_local=False))
                break
            except Timeout:
                stopped()
            except (OSError, NotImplementedError):
                break
        yield
