"""Temporary folders locked by their process, so that those of killed servers can be recognised and removed."""

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
LOCK_FILE = ".held"  # locked while the process lives; the system releases the lock of a killed one
NEW_SECONDS = 3600.0  # in which a folder without a lock may still be under construction


class LockedFolder:
    """A new temporary folder.

    Args:
        prefix: of its name, one of ``PREFIXES``.
    """

    def __init__(self, prefix: str = PREFIX) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = FileLock(self.path / LOCK_FILE, thread_local=False)
        try:
            self._lock.acquire()
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def remove(self) -> None:
        """Remove the folder and its content."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def remove_stale() -> int:
    """Remove the folders of ended processes; returns their number."""
    removed = 0
    temporary = Path(tempfile.gettempdir())
    for folder in (path for prefix in PREFIXES for path in temporary.glob(f"{prefix}*")):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            owner = os.geteuid() if hasattr(os, "geteuid") else status.st_uid
            if folder.is_symlink() or not folder.is_dir() or status.st_uid != owner:
                continue
            if not (folder / LOCK_FILE).exists():
                if time.time() - status.st_mtime >= NEW_SECONDS:
                    folder.rmdir()  # fails for a folder with content, which is not ours
                    removed += 1
                continue
            with contextlib.suppress(Timeout), FileLock(folder / LOCK_FILE, timeout=0):
                shutil.rmtree(folder)
                removed += 1
    return removed
