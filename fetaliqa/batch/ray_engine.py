"""An engine on a Ray cluster: each shard is a task on any free machine.

Plain tasks rather than Ray Data's ``map_batches``: the results are folders that each task writes itself, so no
blocks of data need moving or rebuilding, and Ray without its data libraries is enough. Ray's ``max_retries`` is
not used: it repeats a whole task when one of its cases ends every process (without limit when memory runs out),
and ``score_cases`` repeats lost cases one by one, and names them. Cases that a lost worker has completed are not
scored again, because their done markers are in the results' folder. Ray keeps a worker process, and its model,
between tasks.

The results' folder, the cases and the bundle must be on storage that every machine sees under the same path; a
worker that sees another results' folder refuses to score.
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
LARGEST_SHARD = 16  # cases; the overhead of a task is small beside them
SHARDS_PER_SLOT = 8  # at least, so that slots are busy to the end
SPARE_SHARDS = 8  # queued beyond those that run: an autoscaler sees that more machines would have work
CONNECT_SECONDS = 5.0  # for a cluster's address to accept a connection
POLL_SECONDS = 10.0  # between two queries of the cluster's size


class OnRay:
    """Scores on a Ray cluster.

    Args:
        ray: a connected one, see :func:`cluster`.
        job: to score cases of; its ``out`` and ``out_id`` are set.
        cases: number of cases.
        at_once: shards at a time; None for as many as there is room for.
        threads: of each process; Ray counts them as CPUs.
        notice: called with a sentence for the user.
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
        self._needs = {"CPU": float(threads)} | ({"GPU": 1.0} if job.setup.device.startswith("cuda") else {})
        self._threads = threads
        slots = self._slots()
        if not slots and notice is not None:
            needs = " and ".join(f"{count:g} {name}" for name, count in self._needs.items())
            notice(f"no machine of the cluster has {needs} for a process; waiting for one that has")
        slots = max(1, min(slots, at_once or slots))
        self.shard_size = max(1, min(LARGEST_SHARD, cases // (slots * SHARDS_PER_SLOT)))

    def run(self, shards: Sequence[Shard]) -> Iterator[Outcome]:
        """See :class:`fetaliqa.batch.batch_run.Engine`."""
        ray = self._ray
        resources = {"num_cpus": self._threads, "num_gpus": self._needs.get("GPU", 0), "max_retries": 0}
        task = ray.remote(**resources)(score_shard)
        job = ray.put(self._job)
        waiting = deque(shards)
        running: dict[Any, Shard] = {}
        while waiting or running:
            room = self._at_once or self._slots() + SPARE_SHARDS
            while waiting and len(running) < room:
                shard = waiting.popleft()
                running[task.remote(job, shard, self._threads)] = shard
            finished, _ = ray.wait(list(running), num_returns=1, timeout=POLL_SECONDS)
            for reference in finished:
                yield from self._received(reference, running.pop(reference))

    def _slots(self) -> int:
        """Number of shards that fit on the machines of the cluster."""
        slots = 0.0
        for node in self._ray.nodes():
            if node["Alive"]:
                slots += min(node["Resources"].get(name, 0.0) // count for name, count in self._needs.items())
        return int(slots)

    def _received(self, reference: Any, shard: Shard) -> list[Outcome]:
        """The outcomes that a task returns of its shard; all ``lost`` when its worker or its machine is."""
        ray = self._ray
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as problem:
            if isinstance(problem.cause, FetalIQAError | OSError):
                raise problem.cause from None
            reason = f"its process failed ({type(problem.cause).__name__}: {problem.cause})"
        except ray.exceptions.OutOfMemoryError:
            reason = "its machine ran out of memory"
        except ray.exceptions.RayError as problem:
            reason = f"its worker was lost ({type(problem).__name__})"
        return [Outcome(case, LOST, reason) for case in shard]


def results_id(out: Path) -> str:
    """The identifier in the folder ``out``; it is written when there is none yet.

    Raises:
        OSError: when it cannot be written.
    """
    path = out / ID_FILE
    own = out / f"{ID_FILE}.{uuid.uuid4().hex}"
    own.write_text(uuid.uuid4().hex, encoding="utf-8")
    try:
        with contextlib.suppress(FileExistsError):
            os.link(own, path)  # complete, and by one of several processes
    finally:
        own.unlink()
    return path.read_text(encoding="utf-8")


_scorers: dict[str, Scorer] = {}


def score_shard(job: ScoreJob, shard: Shard, threads: int) -> list[Outcome]:
    """Main function of a task: scores a shard with the process' model.

    Raises:
        StorageError: when the results' folder is another one here.
        BundleError: when the bundle, or the version of fetaliqa, is another one here.
        OSError: when results cannot be written.
    """
    from fetaliqa.batch.local_engine import use_threads

    assert job.out is not None
    _check_shared(job.out, job.out_id)
    if job.run not in _scorers:
        use_threads(threads, job.setup.runtime)
        _scorers.clear()
        _scorers[job.run] = Scorer.open(job)
    return [_scorers[job.run].score(case) for case in shard]


def _check_shared(out: Path, out_id: str | None) -> None:
    try:
        identifier = (out / ID_FILE).read_text(encoding="utf-8")
    except OSError:
        identifier = None
    if identifier != out_id:
        raise StorageError(
            f"{out}: is not the same folder on {socket.gethostname()} as where the run was started; "
            "put the results on storage that all machines of the cluster see under one path"
        )


def device_of(ray: Any, device: str) -> str:
    """``cpu`` or ``cuda``: the same for all processes, so that results do not depend on which of them has a case.

    Args:
        ray: a connected one.
        device: ``auto`` for CUDA when any machine of the cluster has a GPU.

    Raises:
        OptionError: for another device.
    """
    if device == "auto":
        gpus = sum(node["Resources"].get("GPU", 0.0) for node in ray.nodes() if node["Alive"])
        return "cuda" if gpus else "cpu"
    if device not in ("cpu", "cuda"):
        raise OptionError(f"device {device!r} names a GPU of this machine; on a cluster use auto, cpu or cuda")
    return device


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
    settings: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        _protect()  # before Ray is imported, which reads its settings then
        settings |= {"include_dashboard": False, "num_cpus": cpus}
    elif address != AUTO:
        _check_answers(address)
    try:
        import ray
    except ImportError:
        raise OptionError("ray is not installed; --engine ray needs `pip install fetaliqa[ray]`") from None
    try:
        ray.init(**settings)
    except (ConnectionError, RuntimeError, ValueError, SystemExit, ray.exceptions.RayError) as problem:
        # SystemExit: Ray raises it when something other than a cluster answers at the address
        raise OptionError(
            f"no Ray cluster at {address!r} ({_first_line(problem)}); start one with `ray start --head` on one "
            "machine and `ray start --address=HOST:PORT` on the others, or use --address local"
        ) from None
    return ray


def _protect() -> None:
    """Settings of a cluster that is started for this run: a token is needed to use it, and it reports no usage."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _check_answers(address: str) -> None:
    """Check an address, because Ray itself would wait for minutes.

    Raises:
        OptionError: when nothing answers at ``HOST:PORT``, or it is none.
    """
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise OptionError(f"address is {address!r}; it must be auto, local, or HOST:PORT of a Ray cluster")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as problem:
        reason = problem.strerror or problem
        raise OptionError(
            f"no Ray cluster at {address!r} ({reason}); is it started, and is this its address?"
        ) from None


def _first_line(problem: BaseException) -> str:
    text = str(problem).strip()
    return text.splitlines()[0][:200] if text else type(problem).__name__
