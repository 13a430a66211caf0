"""Worker processes (training, scoring, batches) and the server that started each of them.

A server that is killed cannot stop its workers. So a worker ends itself when its server is gone, and a server
can find and stop the orphaned workers of its studies folder. Both use an environment variable of the worker that
identifies its server, because process ids are reused.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

logger = logging.getLogger(__name__)

SERVER_VARIABLE = "FETALIQA_SERVER"  # "PID START STUDIES" of the server, in the environment of its workers
WORKER_MODULE = "monailabel.interfaces.utils.app"
CHECK_SECONDS = 1.0  # between two checks of a worker whether its server runs
GRACE_SECONDS = 20.0  # for a worker to shut down, after its server is gone
END_SECONDS = 10.0  # for killed processes to end
CLOCK_SECONDS = 5.0  # tolerance of a process's start time, which changes with the clock


@dataclass(frozen=True)
class ServerMark:
    """Identity of the server that a worker belongs to.

    Attributes:
        pid, started: process id, and start time (s since 1970).
        studies: the server's studies folder.
    """

    pid: int
    started: float
    studies: str

    @classmethod
    def parse(cls, text: str | None) -> ServerMark | None:
        """Parse the variable's value; None when it is invalid."""
        try:
            pid, started, studies = (text or "").split(" ", 2)
            return cls(int(pid), float(started), studies)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.pid} {self.started:.2f} {self.studies}"

    def alive(self) -> bool:
        """Whether that process runs."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < CLOCK_SECONDS and _runs(process)
        except psutil.AccessDenied:
            return True
        except (psutil.Error, ValueError, OverflowError):
            return False


def _runs(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(killed: Sequence[psutil.Process]) -> bool:
    """Wait for killed processes to end; False after a timeout."""
    deadline = time.monotonic() + END_SECONDS
    while any(map(_runs, killed)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(_runs, killed))


def mark_workers(studies: Path) -> None:
    """Set the environment variable for the workers of this server."""
    own = ServerMark(os.getpid(), psutil.Process().create_time(), str(Path(studies).resolve()))
    os.environ[SERVER_VARIABLE] = str(own)


def end_with_server() -> None:
    """In a worker: end when the server is gone. A training can be resumed, results of a batch are cached."""
    server = ServerMark.parse(os.environ.get(SERVER_VARIABLE))
    if server is not None and server.pid != os.getpid():
        threading.Thread(target=_watch, args=(server,), name="server-watch", daemon=True).start()


def in_worker() -> bool:
    """Whether this process is a worker of a server."""
    server = ServerMark.parse(os.environ.get(SERVER_VARIABLE))
    return server is not None and server.pid != os.getpid()


def _watch(server: ServerMark) -> None:
    while server.alive():
        time.sleep(CHECK_SECONDS)
    with contextlib.suppress(OSError):  # stderr is a pipe to the server
        sys.stderr.write(f"the server (process {server.pid}) has ended: this worker ends\n")
    if hasattr(signal, "pthread_kill"):  # also interrupts a system call
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()
    time.sleep(GRACE_SECONDS)
    os._exit(1)


@dataclass(frozen=True)
class OrphanedWorker:
    """A worker whose server is gone.

    Attributes:
        process: the process.
        method: ``train``, ``scoring`` or ``batch_infer``.
        request: it was started with.
        server: that started it.
    """

    process: psutil.Process
    method: str
    request: dict[str, Any]
    server: ServerMark

    def to_task(self, status: str = "RUNNING") -> dict[str, Any]:
        """In the form of MONAI Label's tasks."""
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.process.create_time()))
        detail = f"process {self.process.pid}, started by a server (process {self.server.pid}) that has ended"
        if status == "RUNNING":
            detail += "; DELETE stops it"
        return {
            "id": f"process-{self.process.pid}",
            "status": status,
            "request": self.request,
            "start_ts": started,
            "details": [detail],
        }

    def stop(self) -> bool:
        """Kill it and its children; True when all have ended."""
        try:
            processes = [*self.process.children(recursive=True), self.process]
        except psutil.Error:
            processes = [self.process]
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil refuses when the id was reused
        logger.info("killed orphaned worker process %d", self.process.pid)
        return wait_until_gone(processes)


def orphaned_workers(studies: Path, method: str) -> list[OrphanedWorker]:
    """Orphaned workers of a studies folder, oldest first."""
    folder, workers = str(Path(studies).resolve()), list[OrphanedWorker]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            command = process.cmdline()
            if WORKER_MODULE not in command or not _runs(process):
                continue
            if command[command.index(WORKER_MODULE) + 1 :][:2] != ["-m", method]:
                continue
            server = ServerMark.parse(process.environ().get(SERVER_VARIABLE))
            if server is None or server.studies != folder or server.alive():
                continue
            request = json.loads(command[command.index("-r") + 1]) if "-r" in command else {}
            workers.append(OrphanedWorker(process, method, request, server))
    pids = {worker.process.pid for worker in workers}
    parents = [worker for worker in workers if worker.process.ppid() not in pids]
    return sorted(parents, key=lambda worker: worker.process.create_time())
