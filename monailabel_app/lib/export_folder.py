"""Temporary folders of exports, each held by the server that made it: what a killed server leaves can be told."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "fetaliqa-export-"
HELD = ".held"  # locked as long as the server lives; the system frees the lock of a killed one
NEW_SECONDS = 3600.0  # in which a folder without a lock may just be being made


class ExportFolder:
    """A new temporary folder."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = FileLock(self.path / HELD, thread_local=False)
        self._lock.acquire()

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def remove_stale() -> int:
    """Remove the folders of servers that live no more; returns how many there were."""
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            owner = os.geteuid() if hasattr(os, "geteuid") else found.st_uid
            if folder.is_symlink() or not folder.is_dir() or found.st_uid != owner:
                continue
            if not (folder / HELD).exists():
                if time.time() - found.st_mtime < NEW_SECONDS:
                    continue
                shutil.rmtree(folder)
                removed += 1
                continue
            with contextlib.suppress(Timeout), FileLock(folder / HELD, timeout=0):
                shutil.rmtree(folder)
                removed += 1
    return removed
