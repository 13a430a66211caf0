"""The progress file of a retraining: written atomically, read by any process."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fetaliqa.atomic import write_json
from fetaliqa.retraining.retraining_paths import PROGRESS, last_run, lock_file, run_folder

WRITE_SECONDS = 1.0  # between two writes


class Progress:
    """Writes ``progress.json`` of a run.

    ``state`` is ``running``, ``done``, ``failed`` or ``stopped``; a killed process leaves ``running``, so
    use ``read_progress`` to read it.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.file = folder / PROGRESS
        self.values: dict[str, Any] = {
            "run": number,
            "state": "running",
            "stage": "start",
            "done": 0,
            "of": 0,
            "epoch": 0,
            "epochs": 0,
            "step": 0,
            "steps": 0,
            "losses": [],
            "validation": {},
            "eta_seconds": None,
            "pid": os.getpid(),
            "updated": time.time(),
        }
        self._written = 0.0

    def say(self, *, now: bool = True, **values: Any) -> None:
        """Update values; with ``now=False`` the file is written at most once a second."""
        self.values.update(values)
        if now or self.due():
            self._written = time.monotonic()
            self.values["updated"] = time.time()
            write_json(self.file, self.values)

    def due(self) -> bool:
        """Whether the next update writes the file, whatever ``now`` is."""
        return time.monotonic() - self._written >= WRITE_SECONDS

    def stage(self, stage: str, done: int, total: int) -> None:
        """As the ``Report`` of a training run."""
        self.say(now=stage != self.values["stage"] or done == total, stage=stage, done=done, of=total)


def alive(pid: Any) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, TypeError, ValueError, OverflowError):
        return False
    return True


def read_progress(studies: Path) -> dict[str, Any]:
    """Progress of the last retraining of a folder of studies.

    Returns:
        What ``progress.json`` holds; ``state`` is ``none`` when nothing was ever trained, and ``interrupted`` when
        the process that trained is gone.
    """
    number = last_run(studies)
    if number is None:
        return {"state": "none"}
    file = run_folder(studies, number) / PROGRESS
    try:
        progress = json.loads(file.read_text(encoding="utf-8"))
        state = progress["state"]
    except FileNotFoundError:  # the run's folder exists, its progress file does not yet
        return {"run": number, "state": "running", "stage": "start"} if _locked(studies) else _interrupted(number)
    except (OSError, ValueError, KeyError, TypeError):
        return _interrupted(number)
    if state == "running" and not (alive(progress.get("pid")) and _locked(studies)):
        progress["state"] = "interrupted"
    return progress


def _interrupted(number: int) -> dict[str, Any]:
    return {"run": number, "state": "interrupted"}


def _locked(studies: Path) -> bool:
    """Whether some process holds the training lock; a live process id alone may be a reused one."""
    try:
        with FileLock(lock_file(studies), timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return True  # a folder that is read-only for this process: only the process id can be checked
