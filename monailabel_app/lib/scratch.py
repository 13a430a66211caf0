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

from monailabel_app.lib.held_folder import HELD, HeldFolder


class Scratch:
    """A held folder that is made when it is needed, and removed when it is empty.

    Attributes:
        holds_masks: whether masks belong there too: whoever gets one calls :meth:`discard`.
    """

    def __init__(self) -> None:
        self.holds_masks = False  # MONAI Label's plain server removes mask files itself, and no folder
        self._lock = threading.Lock()
        self._held: HeldFolder | None = None

    def _place(self) -> Path:
        if self._held is None or not self._held.path.is_dir():
            self._held = HeldFolder()
        return self._held.path

    def file(self, suffix: str) -> Path:
        """A new empty file; :meth:`discard` it.

        Raises:
            OSError: when the disk does not take it.
        """
        with self._lock:
            return _new_file(suffix, self._place())

    def mask_file(self, suffix: str) -> Path:
        """As :meth:`file`, for a mask."""
        return self.file(suffix) if self.holds_masks else _new_file(suffix, None)

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """A new folder for the duration of the block.

        Raises:
            OSError: when the disk does not take it.
        """
        with self._lock:
            path = Path(tempfile.mkdtemp(dir=self._place()))
        try:
            yield path
        finally:
            self.discard(path)

    def discard(self, path: Path) -> None:
        """Remove a file or folder, if it is still there, and the private folder with the last of them."""
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with self._lock:
            if self._held is not None and not any(name != HELD for name in _names(self._held.path)):
                self._held.remove()
                self._held = None

    def close(self) -> None:
        """Remove everything, at the end of the process."""
        with self._lock:
            if self._held is not None:
                self._held.remove()
                self._held = None


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
"""Of this process."""
atexit.register(scratch.close)
