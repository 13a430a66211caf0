"""Engines of this machine: this process, or several of its children."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from fetaliqa.batch.batch_job import LOST, Case, Outcome, ScoreJob
from fetaliqa.batch.batch_run import Shard
from fetaliqa.batch.case_scorer import Scorer
from fetaliqa.errors import FetalIQAError, ScoringError
from fetaliqa.inference.assessment import Progress

DEATHS = 2  # of each child, before any case was through: then it is not the cases' fault
PATIENCE_SECONDS = 5  # for a child to end after it was asked to


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(count: int) -> None:
    """Let the libraries of this process compute with ``count`` threads."""
    import cv2
    import SimpleITK
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(count)


class ThisProcess:
    """Scores in this process, one case after the other.

    Args:
        job: what to do.
        progress: makes the progress callback of a case.
        threads: None leaves them as they are.
    """

    attempts = 1
    shard_size = 1

    def __init__(
        self, job: ScoreJob, progress: Callable[[Case], Progress] | None = None, threads: int | None = None
    ) -> None:
        self._scorer = Scorer(job)
        self._progress = progress
        if threads is not None:
            use_threads(threads)

    def run(self, shards: Sequence[Shard]) -> Iterator[Outcome]:
        """See :class:`fetaliqa.batch.batch_run.Engine`."""
        for case in (case for shard in shards for case in shard):
            yield self._scorer.score(case, self._progress and self._progress(case))


@dataclass
class _Child:
    process: BaseProcess
    connection: Connection
    case: Case | None = None


class Processes:
    """Scores in several processes of this machine, each with a model of its own.

    Each has a pipe of its own, over which it is given one case at a time: when it dies, whatever the reason,
    nothing that others need is held or damaged, and it is known which case it had. Children end when this process
    does, however it does. On CUDA they take turns at the cards.

    Args:
        job: what to do.
        count: of processes.
        threads: of each; None divides the cores among them.
    """

    attempts = 2
    shard_size = 1

    def __init__(self, job: ScoreJob, count: int, threads: int | None = None) -> None:
        self._job = job
        self._count = count
        self._threads = threads or max(1, cores() // count)
        # spawned, not forked: a fork of a process whose torch threads run can hang
        self._context = multiprocessing.get_context("spawn")

    def run(self, shards: Sequence[Shard]) -> Iterator[Outcome]:
        """See :class:`fetaliqa.batch.batch_run.Engine`."""
        left = deque(case for shard in shards for case in shard)
        deaths: int | None = 0  # before any case was through, None once one was
        children: list[_Child] = []
        try:
            children += [self._start(index) for index in range(min(self._count, len(left)))]
            for child in children:
                _give(child, left)
            while busy := {child.connection: child for child in children if child.case is not None}:
                for connection in wait(list(busy)):
                    child = busy[connection]  # type: ignore[index]
                    outcome = self._heard(child)
                    deaths = None if deaths is None or outcome.status != LOST else deaths + 1
                    if deaths is not None and deaths > DEATHS * self._count:
                        said = f"{outcome.reason}, {deaths} times before a case was through"
                        raise ScoringError(f"nothing is scored: {said}")
                    yield outcome
                    if not child.process.is_alive() and left:
                        index = children.index(child)
                        children[index] = child = self._start(index)
                    _give(child, left)
        finally:
            _end(children)

    def _start(self, index: int) -> _Child:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._job, self._threads, _device(self._job.device, index))
        process = self._context.Process(target=_score_what_comes, args=arguments, daemon=True)
        process.start()
        theirs.close()  # so that ours ends when the child does
        return _Child(process, ours)

    def _heard(self, child: _Child) -> Outcome:
        """What a child says of its case; that it is lost, when the child died."""
        case, child.case = child.case, None
        assert case is not None
        try:
            said = child.connection.recv()
        except (EOFError, OSError):
            child.process.join()
            return Outcome(case, LOST, f"the process that had it ended {_how(child.process.exitcode)}")
        if isinstance(said, Outcome):
            return said
        raise said


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"with exit code {code}"
    if -code == signal.SIGKILL:
        return "by signal 9 (of memory that ran out, if nobody sent it)"
    return f"by signal {-code}"


def _give(child: _Child, left: deque[Case]) -> None:
    if left:
        child.case = left.popleft()
        with contextlib.suppress(OSError):  # it died; reading will say so
            child.connection.send(child.case)


def _end(children: list[_Child]) -> None:
    for child in children:
        child.connection.close()
        child.process.terminate()
    for child in children:
        child.process.join(PATIENCE_SECONDS)
        if child.process.is_alive():
            child.process.kill()
            child.process.join()


def _device(device: str, index: int) -> str:
    if device != "cuda":
        return device
    import torch

    return f"cuda:{index % torch.cuda.device_count()}"


def _score_what_comes(connection: Connection, job: ScoreJob, threads: int, device: str) -> None:
    """What a child does: scores cases until its parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, which gets it too, ends its children
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_threads(threads)
    try:
        scorer = Scorer(job, device)
        while (case := _given(connection)) is not None:
            connection.send(scorer.score(case))
    except (FetalIQAError, OSError) as problem:
        connection.send(problem)


def _given(connection: Connection) -> Case | None:
    try:
        return connection.recv()
    except EOFError:
        return None


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # at once: nobody wants what is being computed
