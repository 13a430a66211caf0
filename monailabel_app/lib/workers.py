"""Worker processes (training, scoring, batches) and the server that started each of them.

A server that is killed cannot stop its workers. So a worker ends by itself when its server is gone, and a server
can find and stop the workers that another one of the same studies folder has left behind. Both go by a variable in
the worker's environment that names its server: a process number alone may belong to another program by now.
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
LOOK_SECONDS = 1.0  # between two looks of a worker for its server
GRACE_SECONDS = 20.0  # for a worker to end in good order, after its server is gone
END_SECONDS = 10.0  # for killed processes to be gone
CLOCK_SECONDS = 5.0  # by which the start of one process may be told differently after the clock was set


@dataclass(frozen=True)
class ServerMark:
    """Which server a worker belongs to.

    Attributes:
        pid, started: process number, and when that process was started (s since 1970).
        studies: the server's studies folder.
    """

    pid: int
    started: float
    studies: str

    @classmethod
    def parse(cls, text: str | None) -> ServerMark | None:
        """Of the variable's value; None when it is no mark."""
        try:
            pid, started, studies = (text or "").split(" ", 2)
            return cls(int(pid), float(started), studies)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.pid} {self.started:.2f} {self.studies}"

    def alive(self) -> bool:
        """Whether that very process runs."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < CLOCK_SECONDS and _runs(process)
        except psutil.AccessDenied:
            return True
        except (psutil.Error, ValueError, OverflowError):
            return False


def _runs(process: psutil.Process) -> bool:
    """Whether a process runs; one that ended and that its parent has not asked about does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def all_gone(killed: Sequence[psutil.Process]) -> bool:
    """Wait for processes that were killed; whether all of them have ended."""
    deadline = time.monotonic() + END_SECONDS
    while any(map(_runs, killed)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(_runs, killed))


def mark_workers(studies: Path) -> None:
    """Have the workers that this server starts know it."""
    own = ServerMark(os.getpid(), psutil.Process().create_time(), str(Path(studies).resolve()))
    os.environ[SERVER_VARIABLE] = str(own)


def end_with_server() -> None:
    """In a worker: end when the server is gone. A training can be resumed, what a batch has assessed stays."""
    server = ServerMark.parse(os.environ.get(SERVER_VARIABLE))
    if server is not None and server.pid != os.getpid():
        threading.Thread(target=_watch, args=(server,), name="server-watch", daemon=True).start()


def _watch(server: ServerMark) -> None:
    while server.alive():
        time.sleep(LOOK_SECONDS)
    with contextlib.suppress(OSError):  # the log goes to the server that is gone
        sys.stderr.write(f"the server (process {server.pid}) is gone: this worker ends\n")
    if hasattr(signal, "pthread_kill"):  # also out of a system call
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()
    time.sleep(GRACE_SECONDS)
    os._exit(1)


@dataclass(frozen=True)
class LeftWorker:
    """A worker whose server is gone.

    Attributes:
        process: the process.
        method: ``train``, ``scoring`` or ``batch_infer``.
        request: what it was started with.
        server: the server that is gone.
    """

    process: psutil.Process
    method: str
    request: dict[str, Any]
    server: ServerMark

    def to_task(self, status: str = "RUNNING") -> dict[str, Any]:
        """As MONAI Label tells of its tasks."""
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.process.create_time()))
        left = f"process {self.process.pid}, started by a server (process {self.server.pid}) that is gone"
        if status == "RUNNING":
            left += "; DELETE stops it"
        return {
            "id": f"process-{self.process.pid}",
            "status": status,
            "request": self.request,
            "start_ts": started,
            "details": [left],
        }

    def stop(self) -> bool:
        """Kill it and what it started; whether all of it is gone."""
        try:
            found = [*self.process.children(recursive=True), self.process]
        except psutil.Error:
            found = [self.process]
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil refuses where the number belongs to another process by now
        logger.info("killed worker process %d that a killed server had left", self.process.pid)
        return all_gone(found)


def left_workers(studies: Path, method: str) -> list[LeftWorker]:
    """Workers of a studies folder whose server is gone, the first started first."""
    folder, found = str(Path(studies).resolve()), []
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
            found.append(LeftWorker(process, method, request, server))
    numbers = {worker.process.pid for worker in found}
    tops = [worker for worker in found if worker.process.ppid() not in numbers]
    return sorted(tops, key=lambda worker: worker.process.create_time())
