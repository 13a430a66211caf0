"""File locks of the operating system; they end with the process that holds them."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

ATTEMPTS = 3  # a lock file that is removed at the same moment is made again


class InUse(Exception):
    """A running process holds the lock."""


class FileLock:
    """A lock on a file; made by ``take``.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file

    @classmethod
    def take(cls, path: Path) -> FileLock:
        """Lock a file; it is made if missing.

        Raises:
            InUse: if a running process holds the lock, this one included.
            OSError: if the file system refuses, or does not support locks.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        for _attempt in range(ATTEMPTS):
            file = open(path, "ab")  # noqa: SIM115 - it is open as long as the lock is held
            try:
                _lock(file)
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    return cls(path, file)
            except FileNotFoundError:
                pass  # removed in the meantime
            except BaseException:
                file.close()
                raise
            file.close()
        raise InUse(str(path))

    def release(self, remove: bool = False) -> None:
        """Release the lock; with ``remove`` also delete the file."""
        if remove and sys.platform != "win32":  # before unlocking, so that no other process locks a deleted file
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._file.close()
        if remove and sys.platform == "win32":  # open files cannot be deleted
            with contextlib.suppress(OSError):
                self.path.unlink()


def in_use(path: Path) -> bool:
    """Whether a running process holds the lock of a file; False if the file system does not support locks."""
    if not path.exists():
        return False
    lock: FileLock | None = None
    try:
        lock = FileLock.take(path)
    except InUse:
        return True
    except OSError:
        return False
    lock.release()
    return False


class InstanceLocks:
    """Locks of running Slicer instances, and of ended ones whose work this instance has claimed.

    Args:
        folder: of the lock files; made when needed.
        own: name of this instance.
    """

    def __init__(self, folder: Path, own: str) -> None:
        self._folder = folder
        self._own = own
        self._held: dict[str, FileLock] = {}
        self._unsupported = False

    def hold(self) -> None:
        """Take the lock of this instance; does nothing without lock support, since saving work matters more."""
        if self._own in self._held or self._unsupported:
            return
        try:
            self._held[self._own] = FileLock.take(self._file(self._own))
        except (InUse, OSError):
            self._unsupported = True
            return
        for path in self._folder.glob("*.lock"):  # of instances that were killed
            if path.stem not in self._held:
                with contextlib.suppress(InUse, OSError):
                    FileLock.take(path).release(remove=True)

    def in_use(self, instance: str) -> bool:
        """Whether another running process owns an instance."""
        return instance != self._own and instance not in self._held and in_use(self._file(instance))

    def claim(self, instance: str) -> None:
        """Claim the work of an ended instance.

        Raises:
            InUse: if it is running, or claimed by another instance.
        """
        if instance != self._own and instance not in self._held:
            with contextlib.suppress(OSError):  # no lock support; losing work would be worse
                self._held[instance] = FileLock.take(self._file(instance))

    def release(self, instance: str) -> None:
        """Release a claim."""
        if instance != self._own and instance in self._held:
            self._held.pop(instance).release(remove=True)

    def close(self) -> None:
        """Release all locks at the end of this instance."""
        while self._held:
            self._held.popitem()[1].release(remove=True)

    def _file(self, instance: str) -> Path:
        return self._folder / f"{instance}.lock"


def _lock(file: Any) -> None:
    """Lock an open file without waiting.

    Raises:
        InUse, OSError: see ``FileLock.take``.
    """
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as problem:
        raise InUse(file.name) from problem
    except OSError as problem:
        if sys.platform == "win32":  # raised for a region that another handle locked, besides EACCES
            raise InUse(file.name) from problem
        raise
