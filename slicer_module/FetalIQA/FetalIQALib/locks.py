"""Locks of the operating system: they end with the process that holds them, however that ends."""

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

ATTEMPTS = 3  # a file that somebody tidies away at this very moment is made again


class InUse(Exception):
    """A living process holds the lock."""


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
        """Lock a file, which is made when it is not there.

        Raises:
            InUse: when a living process has it, this one included.
            OSError: when the disk refuses, or knows no locks.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        for _attempt in range(ATTEMPTS):
            file = open(path, "ab")  # noqa: SIM115 - it is open as long as the lock is held
            try:
                _lock(file)
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    return cls(path, file)
            except FileNotFoundError:
                pass  # tidied away between the two
            except BaseException:
                file.close()
                raise
            file.close()
        raise InUse(str(path))

    def release(self, tidy: bool = False) -> None:
        """Let go of it; ``tidy``: and remove the file."""
        if tidy and sys.platform != "win32":  # first, so that nobody locks a file that is about to go
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._file.close()
        if tidy and sys.platform == "win32":  # which removes no open file
            with contextlib.suppress(OSError):
                self.path.unlink()


def in_use(path: Path) -> bool:
    """Whether a living process holds the lock of a file; False where the disk knows no locks."""
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


class SessionLocks:
    """Which sessions of Slicer are alive, and which of the dead ones this session goes on with.

    Args:
        folder: of the locks; made when it is needed.
        own: name of this session.
    """

    def __init__(self, folder: Path, own: str) -> None:
        self._folder = folder
        self._own = own
        self._held: dict[str, FileLock] = {}
        self._lockless = False

    def hold(self) -> None:
        """Say that this session is alive. Does nothing where that cannot be: keeping work matters more."""
        if self._own in self._held or self._lockless:
            return
        try:
            self._held[self._own] = FileLock.take(self._file(self._own))
        except (InUse, OSError):
            self._lockless = True
            return
        for path in self._folder.glob("*.lock"):  # of sessions that were killed
            if path.stem not in self._held:
                with contextlib.suppress(InUse, OSError):
                    FileLock.take(path).release(tidy=True)

    def in_use(self, session: str) -> bool:
        """Whether another living process has a session."""
        return session != self._own and session not in self._held and in_use(self._file(session))

    def claim(self, session: str) -> None:
        """Go on with what a dead session left.

        Raises:
            InUse: when it is alive, or another one goes on with it.
        """
        if session != self._own and session not in self._held:
            with contextlib.suppress(OSError):  # a disk that knows no locks; lost work would be worse
                self._held[session] = FileLock.take(self._file(session))

    def release(self, session: str) -> None:
        """What a dead session left is taken over."""
        if session != self._own and session in self._held:
            self._held.pop(session).release(tidy=True)

    def close(self) -> None:
        """This session ends."""
        while self._held:
            self._held.popitem()[1].release(tidy=True)

    def _file(self, session: str) -> Path:
        return self._folder / f"{session}.lock"


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
        if sys.platform == "win32":  # what it raises for a region that another handle has, besides EACCES
            raise InUse(file.name) from problem
        raise
