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
from fetaliqa.inference.chunk_prediction import TORCH
from fetaliqa.inference.graph_runtimes import set_graph_threads

DEATHS = 2  # of each child, before any case is completed: more of them are not caused by the cases
END_SECONDS = 5  # for a child to end after SIGTERM


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(count: int, runtime: str = TORCH) -> None:
    """Let the libraries of this process compute with ``count`` threads.

    Args:
        count: how many.
        runtime: that computes the model; others than torch do not load it.
    """
    import cv2
    import SimpleITK

    if runtime == TORCH:
        import torch

        torch.set_num_threads(count)
    set_graph_threads(count)
    cv2.setNumThreads(count)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(count)


class ThisProcess:
    """Scores in this process, one case after the other.

    Args:
        scorer: of the job.
        progress: makes the progress callback of a case.
        threads: None leaves the libraries' own numbers.
    """

    attempts = 1
    shard_size = 1

    def __init__(
        self, scorer: Scorer, progress: Callable[[Case], Progress] | None = None, threads: int | None = None
    ) -> None:
        self._scorer = scorer
        self._progress = progress
        if threads is not None:
            use_threads(threads, scorer.job.setup.runtime)

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
    """Scores in several processes of this machine, each with its own model.

    Each child gets one case at a time over its own pipe: when it dies, no other child is affected, and its case is
    known. Children end with this process, also when it is killed. On CUDA they are distributed over the devices.

    Args:
        job: to score cases of.
        count: number of processes.
        threads: of each process; None divides the cores among them.
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
        waiting = deque(case for shard in shards for case in shard)
        deaths: int | None = 0  # before any case is completed, None after that
        children: list[_Child] = []
        try:
            children += [self._start(index) for index in range(min(self._count, len(waiting)))]
            for child in children:
                _send_next(child, waiting)
            while busy := {child.connection: child for child in children if child.case is not None}:
                for connection in wait(list(busy)):
                    child = busy[connection]  # type: ignore[index]
                    outcome = self._received(child)
                    deaths = None if deaths is None or outcome.status != LOST else deaths + 1
                    if deaths is not None and deaths > DEATHS * self._count:
                        raise ScoringError(
                            f"nothing is scored: {outcome.reason}, {deaths} times before any case was completed"
                        )
                    yield outcome
                    if not child.process.is_alive() and waiting:
                        index = children.index(child)
                        children[index] = child = self._start(index)
                    _send_next(child, waiting)
        finally:
            _end(children)

    def _start(self, index: int) -> _Child:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._job, self._threads, _device(self._job.setup.device, index))
        process = self._context.Process(target=_score_received_cases, args=arguments, daemon=True)
        process.start()
        theirs.close()  # so that ours ends when the child does
        return _Child(process, ours)

    def _received(self, child: _Child) -> Outcome:
        """The outcome that a child sends of its case; ``lost`` when the child died."""
        case, child.case = child.case, None
        assert case is not None
        try:
            message = child.connection.recv()
        except (EOFError, OSError):
            child.process.join()
            return Outcome(case, LOST, f"its process {_ending(child.process.exitcode)}")
        if isinstance(message, Outcome):
            return message
        raise message


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    if -code == signal.SIGKILL:
        return "was killed (SIGKILL), probably out of memory"
    return f"was killed by signal {-code}"


def _send_next(child: _Child, waiting: deque[Case]) -> None:
    if waiting:
        child.case = waiting.popleft()
        with contextlib.suppress(OSError):  # the child died; receiving from it will show that
            child.connection.send(child.case)


def _end(children: list[_Child]) -> None:
    for child in children:
        child.connection.close()
        child.process.terminate()
    for child in children:
        child.process.join(END_SECONDS)
        if child.process.is_alive():
            child.process.kill()
            child.process.join()


def _device(device: str, index: int) -> str:
    if device != "cuda":
        return device
    import torch

    return f"cuda:{index % torch.cuda.device_count()}"


def _score_received_cases(connection: Connection, job: ScoreJob, threads: int, device: str) -> None:
    """Main function of a child: scores cases until its parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends its children
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_threads(threads, job.setup.runtime)
    try:
        scorer = Scorer.open(job, device)
        while (case := _next_case(connection)) is not None:
            connection.send(scorer.score(case))
    except (FetalIQAError, OSError) as problem:
        connection.send(problem)


def _next_case(connection: Connection) -> Case | None:
    try:
        return connection.recv()
    except EOFError:
        return None


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # at once: the result in progress is not needed
