"""The folder ``access`` in a studies folder, and its JSON files, which only their owner may read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fetaliqa.atomic import atomic_path, why_not_written
from fetaliqa.errors import StorageError

FOLDER = "access"  # in the studies folder: it is backed up and moved with what it protects
LOCK = ".lock"
LOCK_SECONDS = 10.0
PRIVATE = 0o600


class AccessError(StorageError):
    """A file of the access folder is damaged or cannot be read; nobody is let in by it."""

    http_status = 503


class PrivateFile:
    """A JSON object on disk, read again when another process has changed it.

    Args:
        folder: the access folder.
        name: of the file.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self._signature: tuple[int, ...] | None = None
        self._value: dict[str, Any] = {}

    def changed(self) -> bool:
        """Whether the file differs from what was read last."""
        return self._signature is None or self._stat() != self._signature

    def read(self) -> dict[str, Any]:
        """The content; empty when there is no file.

        Raises:
            AccessError: when it is damaged or cannot be read.
        """
        signature = self._stat()
        if signature == self._signature:
            return self._value
        try:
            value = json.loads(self.path.read_text(encoding="utf-8")) if signature else {}
        except (OSError, ValueError) as problem:
            raise AccessError(
                f"{self.path.name}: the file cannot be read ({problem}); restore it from a backup, or remove it "
                "and add the users again"
            ) from None
        if not isinstance(value, dict):
            raise AccessError(f"{self.path.name}: a JSON object is expected; restore the file from a backup")
        self._value, self._signature = value, signature
        return value

    def write(self, value: dict[str, Any]) -> None:
        """Replace the content; the lock is held.

        Raises:
            StorageError: when it cannot be written; the file is as it was.
        """
        try:
            with atomic_path(self.path, PRIVATE) as temporary:
                temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
                give_to_owner(temporary, self.path.parent)
        except OSError as problem:
            raise StorageError(f"{self.path.name}: not changed: {why_not_written(problem)}") from None
        self._value, self._signature = value, self._stat()

    def _stat(self) -> tuple[int, ...]:
        """What identifies the file's state; empty when there is none."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return ()
        except OSError as problem:
            raise AccessError(f"{self.path.name}: the file cannot be read ({problem.strerror})") from None
        return found.st_mtime_ns, found.st_size, found.st_ino


def access_folder(studies: Path) -> Path:
    """The access folder of a studies folder."""
    return Path(studies) / FOLDER


def give_to_owner(path: Path, folder: Path) -> None:
    """Give what root made to the owner of a folder: the server is usually another user."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = os.stat(folder)
        if os.stat(path).st_uid != owner.st_uid:
            os.chown(path, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of an access folder; makes the folder.

    Raises:
        StorageError: when it cannot be made, or another process holds the lock.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        give_to_owner(folder, folder.parent)
        with FileLock(folder / LOCK, timeout=LOCK_SECONDS, mode=PRIVATE):
            give_to_owner(folder / LOCK, folder)
            yield
    except Timeout:
        raise StorageError(f"{folder.name}: another process is changing it; try again") from None
    except OSError as problem:
        raise StorageError(f"{folder.name}: not changed: {why_not_written(problem)}") from None
