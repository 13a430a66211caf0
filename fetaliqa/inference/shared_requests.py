"""Requests for the same thing at the same time: one of them computes it, in this process and in others."""

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
Stopped = Callable[[], bool]  # whether the one who asked has gone

POLL_SECONDS = 0.25  # between two looks of one who waits at whether its own request was stopped


class SharedWork(Generic[Value]):
    """Work that is done once for all who ask for it at the same time.

    The first who asks computes, in its own thread; the others wait. An error reaches all of them. The work is
    given up only when nobody is left who wants it: a requester that goes leaves the others their answer.
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
        """Compute, or wait for who computes it already.

        Args:
            key: what is computed.
            compute: does it, and calls its argument with the progress; that raises when the work is given up.
            progress: called with the progress, by whoever computes; what it raises ends this request only.
            stopped: asked now and then whether this request was given up; None: it never is.

        Returns:
            The value, and whether it was computed here.

        Raises:
            RequestStopped: when this request was given up.
        """
        while True:
            with self._lock:
                work = self._running.get(key)
                leads = work is None
                if work is None:
                    work = self._running[key] = _Work()
                asker = work.join(stopped)
            if leads:
                return self._lead(key, work, asker, compute, progress), True
            if work.await_end(asker, progress):
                return work.value(), False

    def _lead(
        self,
        key: str,
        work: _Work[Value],
        asker: _Asker,
        compute: Callable[[Progress], Value],
        progress: Progress | None,
    ) -> Value:
        own: list[Exception] = []  # what this request's own callback raised while others waited

        def report(done: int, total: int) -> None:
            work.say(done, total)
            if work.abandoned():
                raise RequestStopped()
            if progress is None or own:
                return
            try:
                progress(done, total)
            except Exception as problem:
                asker.gone = True
                if work.abandoned():
                    raise
                own.append(problem)

        error: BaseException | None = None
        try:
            found = compute(report)
            work.found.append(found)
        except BaseException as problem:
            error = problem
            raise
        finally:
            with self._lock:
                del self._running[key]
            # what ended this request alone (it was stopped, or interrupted) is no answer to the others
            shared = isinstance(error, Exception) and not isinstance(error, RequestStopped) and not asker.gone
            work.end(error if shared else None)
        if own:
            raise own[0]
        return found


class _Asker:
    """One request for a piece of work."""

    def __init__(self, stopped: Stopped | None) -> None:
        self._stopped = stopped
        self.gone = False

    def has_gone(self) -> bool:
        self.gone = self.gone or (self._stopped is not None and self._stopped())
        return self.gone


class _Work(Generic[Value]):
    """Work under way, and who wants it."""

    def __init__(self) -> None:
        self.found: list[Value] = []  # the value, once there is one
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._askers: list[_Asker] = []
        self._said: tuple[int, int] | None = None

    def join(self, stopped: Stopped | None) -> _Asker:
        asker = _Asker(stopped)
        self._askers.append(asker)
        return asker

    def abandoned(self) -> bool:
        """Whether nobody wants it any more."""
        return all(asker.has_gone() for asker in list(self._askers))

    def say(self, done: int, total: int) -> None:
        self._said = done, total

    def end(self, error: BaseException | None) -> None:
        self._error = error
        self._ended.set()

    def value(self) -> Value:
        """The value, or the error that ended the work."""
        if self._error is not None:
            raise self._error
        return self.found[0]

    def await_end(self, asker: _Asker, progress: Progress | None) -> bool:
        """Wait; False when the work ended without a value or an error that concerns this request."""
        told = None
        try:
            while not self._ended.wait(POLL_SECONDS):
                if asker.has_gone():
                    raise RequestStopped()
                if progress is not None and self._said != told:
                    told = self._said
                    assert told is not None
                    progress(*told)
        except BaseException:
            asker.gone = True
            raise
        return bool(self.found) or self._error is not None


@contextlib.contextmanager
def alone(lock_file: Path | None, stopped: Callable[[], object] = lambda: None) -> Iterator[None]:
    """The block runs while no other process is in one with the same file.

    Where the file cannot be locked (a folder that is read-only, a file system without locks) it just runs: the
    worst is that something is computed twice.

    Args:
        lock_file: None: the block just runs.
        stopped: called now and then while waiting; what it raises ends the waiting.
    """
    with contextlib.ExitStack() as held:
        while lock_file is not None:
            try:
                lock_file.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(lock_file, timeout=POLL_SECONDS, thread_local=False))
                break
            except Timeout:
                stopped()
            except (OSError, NotImplementedError):
                break
        yield
