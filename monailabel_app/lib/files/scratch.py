"""Temporary files of this process (uploads, masks, archives), in one private folder."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from monailabel_app.lib.files.locked_folder import LOCK_FILE, LockedFolder


class Scratch:
    """A locked folder that is created when needed, and removed when empty.

    Attributes:
        holds_masks: whether mask files go there too; then the caller has to :meth:`discard` them.
    """

    def __init__(self) -> None:
        self.holds_masks = False  # MONAI Label's plain server removes mask files itself, and no folder
        self._lock = threading.Lock()
        self._folder: LockedFolder | None = None

    def _ensure(self) -> Path:
        if self._folder is None or not self._folder.path.is_dir():
            self._folder = LockedFolder()
        return self._folder.path

    def file(self, suffix: str) -> Path:
        """A new empty file, which the caller discards.

        Raises:
            OSError: when the file cannot be written.
        """
        with self._lock:
            return _new_file(suffix, self._ensure())

    def mask_file(self, suffix: str) -> Path:
        """As :meth:`file`, for a mask."""
        return self.file(suffix) if self.holds_masks else _new_file(suffix, None)

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """A new folder for the duration of the block.

        Raises:
            OSError: when the file cannot be written.
        """
        with self._lock:
            path = Path(tempfile.mkdtemp(dir=self._ensure()))
        try:
            yield path
        finally:
            self.discard(path)

    def discard(self, path: Path) -> None:
        """Remove a file or folder, if it exists, and the private folder once it is empty."""
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with self._lock:
            if self._folder is not None and not any(name != LOCK_FILE for name in _names(self._folder.path)):
                self._folder.remove()
                self._folder = None

    def close(self) -> None:
        """Remove everything, at the end of the process."""
        with self._lock:
            if self._folder is not None:
                self._folder.remove()
                self._folder = None


def _new_file(suffix: str, folder: Path | None) -> Path:
    handle, name = tempfile.mkstemp(prefix="fetaliqa-", suffix=suffix, dir=folder)
    os.close(handle)
    return Path(name)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


scratch = Scratch()
"""The temporary files of this process."""
atexit.register(scratch.close)
