"""One thread that keeps folder and archive together: brings new cines, sends final labels, and tries again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fetaliqa.errors import FetalIQAError
from fetaliqa.labels import LabelStore
from fetaliqa.labels.label_store import FOLDER
from fetaliqa.measure.anatomy import Anatomy
from monailabel_app.lib.dicomweb.archive import Archive
from monailabel_app.lib.dicomweb.catalog import Catalog
from monailabel_app.lib.dicomweb.mirror import Mirror
from monailabel_app.lib.dicomweb.receiving import Receiving
from monailabel_app.lib.dicomweb.sending import Sending

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0  # that closing waits for the call that is under way


class ArchiveLink:
    """A folder of copies and its archive.

    Args:
        archive: the archive.
        folder: of the copies and their labels.
        every: seconds between two looks; 0: only when asked.
        anatomy: what is outlined, when it is asked for.
    """

    def __init__(self, archive: Archive, folder: Path, every: float, anatomy: Callable[[], Anatomy]) -> None:
        self.archive, self.folder, self.catalog = archive, folder, Catalog(folder)
        self._every = every
        self._mirror = Mirror(archive, self.catalog)
        self._receiving = Receiving(archive, self.catalog, LabelStore(folder / FOLDER))
        self._sending = Sending(archive, self.catalog, LabelStore(folder / FOLDER), anatomy)
        self._others = FileLock(folder / ".archive.lock", thread_local=False)  # a second server on this folder
        self._pass = threading.Lock()
        self._wake, self._stopping, self._look_wanted = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._problems: list[str] = []
        self._last_look: str | None = None
        self.on_copied: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._look_wanted.set()
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the call that is under way."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def label_saved(self) -> None:
        """Send soon."""
        self._wake.set()

    def look_soon(self) -> None:
        """Look and send soon."""
        self._look_wanted.set()
        self._wake.set()

    def status(self) -> dict[str, Any]:
        """What a client sees: how far both are apart."""
        return {
            "address": self.archive.address,
            "looking": self._look_wanted.is_set() or self._pass.locked(),
            "last_look": self._last_look,
            "cines": len(self.catalog.read().cines),
            "waiting": [{"image": name, "version": number} for name, number in self._sending.waiting().items()],
            "problems": self._problems,
        }

    def once(self, look: bool) -> None:
        """One pass: send, and look before where that is wanted. What fails is said, and done the next time."""
        with self._pass:
            problems: list[str] = []
            try:
                with self._others.acquire(timeout=0):
                    if look:
                        self._last_look = datetime.now(UTC).isoformat(timespec="seconds")
                        copied, problems = self._mirror.look(self._between)
                        problems += self._receiving.receive()
                        if copied:
                            self.on_copied()
                    problems += self._sending.send()
            except Timeout:
                problems.append("another server works on the folder of copies; it looks and sends")
            except FetalIQAError as problem:
                problems.append(str(problem))
            except OSError as problem:
                problems.append(f"the folder of copies does not take it: {problem.strerror or problem}")
            except Exception:
                logger.exception("the archive could not be followed")
                problems.append("the archive could not be followed; the server's log says why")
            for said in problems:
                if said not in self._problems:  # once, not at every pass
                    logger.error("%s", said)
            self._problems = problems

    def _between(self) -> None:
        """Send what was saved while cines are being copied; what fails is said at the end of the pass."""
        if self._wake.is_set():
            self._wake.clear()
            self._sending.send()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            # both are cleared before the pass: what is asked for while it runs is done by the next one
            self._wake.clear()
            look = self._look_wanted.is_set() or (self._every > 0 and time.monotonic() >= due)
            if look:
                self._look_wanted.clear()
            self.once(look)
            if look:
                due = time.monotonic() + self._every
            if not self._look_wanted.is_set():  # a label sent in between may have taken its wake-up
                self._wake.wait(max(0.0, due - time.monotonic()) if self._every else None)
