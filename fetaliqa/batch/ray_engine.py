"""An engine on a Ray cluster: each shard is a task, on whichever machine is free.

Plain tasks rather than Ray Data's ``map_batches``: the results are folders that each task writes itself, so no
blocks of data need moving or rebuilding, and Ray without its data libraries is enough. Nor Ray's own
``max_retries``: it repeats a task as often when one of its cases takes every process down (for ever when memory
runs out), whereas ``score_cases`` tries what was lost case by case, and names the case. What a lost worker had
finished is not scored again, because its done marks lie in the results' folder. Ray keeps a worker process between
tasks, and with it the model.

The results' folder must be on storage that every machine sees under the same path, as must the cases and the
bundle; a worker that finds another folder there refuses.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fetaliqa.batch.batch_job import LOST, Outcome, ScoreJob
from fetaliqa.batch.batch_run import Shard
from fetaliqa.batch.case_scorer import Scorer
from fetaliqa.errors import FetalIQAError, OptionError, StorageError

LOCAL, AUTO = "local", "auto"
ID_FILE = ".fetaliqa-results"
LARGEST_SHARD = 16  # cases; what a task costs Ray is small beside them
SHARDS_PER_PLACE = 8  # at least, so that places are busy to the end
SPARE_SHARDS = 8  # given to Ray beyond those that run: it then sees that more machines would have work
ANSWER_SECONDS = 5.0  # for a cluster's address to take a connection
LOOK_SECONDS = 10.0  # between looks at how large the cluster is


class OnRay:
    """Scores on a Ray cluster.

    Args:
        ray: a connected one, see :func:`cluster`.
        job: what to do; its ``out`` and ``out_id`` are set.
        cases: how many there are.
        at_once: shards at a time; None for as many as there is room for.
        threads: of each process, counted as so many CPUs by Ray.
        notice: is told what a user should know, in a sentence.
    """

    attempts = 3

    def __init__(
        self,
        ray: Any,
        job: ScoreJob,
        cases: int,
        *,
        at_once: int | None = None,
        threads: int = 1,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self._ray = ray
        self._job = job
        self._at_once = at_once
        self._needs = {"CPU": float(threads)} | ({"GPU": 1.0} if job.device.startswith("cuda") else {})
        self._threads = threads
        places = self._places()
        if not places and notice is not None:
            needs = " and ".join(f"{count:g} {name}" for name, count in self._needs.items())
            notice(f"no machine of the cluster has {needs} for a process; waiting for one that has")
        places = max(1, min(places, at_once or places))
        self.shard_size = max(1, min(LARGEST_SHARD, cases // (places * SHARDS_PER_PLACE)))

    def run(self, shards: Sequence[Shard]) -> Iterator[Outcome]:
        """See :class:`fetaliqa.batch.batch_run.Engine`."""
        ray = self._ray
        how = {"num_cpus": self._threads, "num_gpus": self._needs.get("GPU", 0), "max_retries": 0}
        task = ray.remote(**how)(score_shard)
        job = ray.put(self._job)
        left = deque(shards)
        running: dict[Any, Shard] = {}
        while left or running:
            room = self._at_once or self._places() + SPARE_SHARDS
            while left and len(running) < room:
                shard = left.popleft()
                running[task.remote(job, shard, self._threads)] = shard
            finished, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_SECONDS)
            for reference in finished:
                yield from self._heard(reference, running.pop(reference))

    def _places(self) -> int:
        """How many shards there is room for on the machines of the cluster."""
        places = 0.0
        for node in self._ray.nodes():
            if node["Alive"]:
                places += min(node["Resources"].get(name, 0.0) // count for name, count in self._needs.items())
        return int(places)

    def _heard(self, reference: Any, shard: Shard) -> list[Outcome]:
        """What a task says of its shard; that the shard is lost, when its worker or its machine is."""
        ray = self._ray
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as problem:
            if isinstance(problem.cause, FetalIQAError | OSError):
                raise problem.cause from None
            reason = f"the process that had it failed ({type(problem.cause).__name__}: {problem.cause})"
        except ray.exceptions.OutOfMemoryError:
            reason = "the machine that had it ran out of memory"
        except ray.exceptions.RayError as problem:
            reason = f"the worker that had it was lost ({type(problem).__name__})"
        return [Outcome(case, LOST, reason) for case in shard]


def results_id(out: Path) -> str:
    """What the folder ``out`` is known by; given to it when it has no name yet.

    Raises:
        OSError: when it cannot be written.
    """
    path = out / ID_FILE
    own = out / f"{ID_FILE}.{uuid.uuid4().hex}"
    own.write_text(uuid.uuid4().hex, encoding="utf-8")
    try:
        with contextlib.suppress(FileExistsError):
            os.link(own, path)  # whole, and by one of several who come at once
    finally:
        own.unlink()
    return path.read_text(encoding="utf-8")


_scorers: dict[str, Scorer] = {}


def score_shard(job: ScoreJob, shard: Shard, threads: int) -> list[Outcome]:
    """What a task does: scores a shard with the process' model.

    Raises:
        StorageError: when the results' folder is another one here.
        BundleError: when the bundle, or fetaliqa itself, is another one here.
        OSError: when results cannot be written.
    """
    from fetaliqa.batch.local_engine import use_threads

    assert job.out is not None
    _check_shared(job.out, job.out_id)
    if job.run not in _scorers:
        use_threads(threads)
        _scorers.clear()
        _scorers[job.run] = Scorer(job)
    return [_scorers[job.run].score(case) for case in shard]


def _check_shared(out: Path, out_id: str | None) -> None:
    try:
        found = (out / ID_FILE).read_text(encoding="utf-8")
    except OSError:
        found = None
    if found != out_id:
        raise StorageError(
            f"{out}: is not the same folder on {socket.gethostname()} as where the run was started; "
            "put the results on storage that all machines of the cluster see under one path"
        )


def device_of(ray: Any, wish: str) -> str:
    """``cpu`` or ``cuda``: what all processes compute on, so that it does not matter which of them has a case.

    Args:
        ray: a connected one.
        wish: ``auto`` for CUDA where any machine of the cluster has a card.

    Raises:
        OptionError: for another device.
    """
    if wish == "auto":
        cards = sum(node["Resources"].get("GPU", 0.0) for node in ray.nodes() if node["Alive"])
        return "cuda" if cards else "cpu"
    if wish not in ("cpu", "cuda"):
        raise OptionError(f"device {wish!r} is one of this machine; on a cluster use auto, cpu or cuda")
    return wish


@contextlib.contextmanager
def cluster(address: str, cpus: int | None = None) -> Iterator[Any]:
    """The ``ray`` module, connected to a cluster while the context lasts.

    Args:
        address: ``auto``, a cluster that this machine belongs to; ``HOST:PORT`` of one that it belongs to;
            ``local``, one that is started on this machine and ended with the context.
        cpus: how many a local one has; None for all.

    Raises:
        OptionError: when Ray is not installed, or there is no such cluster.
    """
    ray = _connected(address, cpus)
    try:
        yield ray
    finally:
        ray.shutdown()


def _connected(address: str, cpus: int | None) -> Any:
    how: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        _guard()  # before Ray is imported, which reads its settings then
        how |= {"include_dashboard": False, "num_cpus": cpus}
    elif address != AUTO:
        _check_answers(address)
    try:
        import ray
    except ImportError:
        raise OptionError("ray is not installed; --engine ray needs `pip install fetaliqa[ray]`") from None
    try:
        ray.init(**how)
    except (ConnectionError, RuntimeError, ValueError, SystemExit, ray.exceptions.RayError) as problem:
        # SystemExit: what Ray does when something answers at the address that is no cluster
        raise OptionError(
            f"no Ray cluster at {address!r} ({_first_line(problem)}); start one with `ray start --head` on one "
            "machine and `ray start --address=HOST:PORT` on the others, or use --address local"
        ) from None
    return ray


def _guard() -> None:
    """A cluster of this run's own: only who knows its token may use it, and it reports to nobody."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _check_answers(address: str) -> None:
    """Ray itself waits for minutes.

    Raises:
        OptionError: when nothing answers at ``HOST:PORT``, or it is none.
    """
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise OptionError(f"address is {address!r}; it must be auto, local, or HOST:PORT of a Ray cluster")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError as problem:
        reason = problem.strerror or problem
        raise OptionError(
            f"no Ray cluster at {address!r} ({reason}); is it started, and is this its address?"
        ) from None


def _first_line(problem: BaseException) -> str:
    text = str(problem).strip()
    return text.splitlines()[0][:200] if text else type(problem).__name__
