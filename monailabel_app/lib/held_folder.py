"""Temporary folders that are held by the process that made them: what a killed server leaves can be told."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "fetaliqa-server-"
EXPORT_PREFIX = "fetaliqa-export-"
PREFIXES = (PREFIX, EXPORT_PREFIX)
HELD = ".held"  # locked as long as the process lives; the system frees the lock of a killed one
NEW_SECONDS = 3600.0  # in which a folder without a lock may just be being made


class HeldFolder:
    """A new temporary folder.

    Args:
        prefix: of its name, one of ``PREFIXES``.
    """

    def __init__(self, prefix: str = PREFIX) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = FileLock(self.path / HELD, thread_local=False)
        try:
            self._lock.acquire()
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def remove_stale() -> int:
    """Remove the folders of processes that live no more; returns how many there were."""
    removed = 0
    temporary = Path(tempfile.gettempdir())
    for folder in (found for prefix in PREFIXES for found in temporary.glob(f"{prefix}*")):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            owner = os.geteuid() if hasattr(os, "geteuid") else found.st_uid
            if folder.is_symlink() or not folder.is_dir() or found.st_uid != owner:
                continue
            if not (folder / HELD).exists():
                if time.time() - found.st_mtime >= NEW_SECONDS:
                    folder.rmdir()  # one that holds anything is not ours, whatever it is called
                    removed += 1
                continue
            with contextlib.suppress(Timeout), FileLock(folder / HELD, timeout=0):
                shutil.rmtree(folder)
                removed += 1
    return removed
