"""One thread that synchronises a folder with a DICOM archive: copies new cines, sends final labels, retries."""

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
from monailabel_app.lib.dicomweb.archive_client import Archive
from monailabel_app.lib.dicomweb.cine_mirror import CineMirror
from monailabel_app.lib.dicomweb.copies_catalog import Catalog
from monailabel_app.lib.dicomweb.label_download import LabelDownload
from monailabel_app.lib.dicomweb.label_upload import FINAL, LabelUpload

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0  # that closing waits for the request in progress


class ArchiveSync:
    """Synchronises a folder of copies with its archive.

    Args:
        archive: the archive.
        folder: of the copies and their labels.
        every: seconds between two searches for new cines; 0: only on request.
        anatomy: what labels outline; called at each transfer.

    Attributes:
        on_copied: called after new cines were copied.
    """

    def __init__(self, archive: Archive, folder: Path, every: float, anatomy: Callable[[], Anatomy]) -> None:
        self.archive, self.folder, self.catalog = archive, folder, Catalog(folder)
        self._every = every
        self._mirror = CineMirror(archive, self.catalog)
        self._download = LabelDownload(archive, self.catalog, LabelStore(folder / FOLDER))
        self._upload = LabelUpload(archive, self.catalog, LabelStore(folder / FOLDER), anatomy)
        self._folder_lock = FileLock(
            folder / ".archive.lock", thread_local=False
        )  # a second server on this folder
        self._pass = threading.Lock()
        self._wake, self._stopping, self._search_requested = (
            threading.Event(),
            threading.Event(),
            threading.Event(),
        )
        self._thread: threading.Thread | None = None
        self._problems: list[str] = []
        self._last_search: str | None = None
        self.on_copied: Callable[[], None] = lambda: None

    @property
    def address(self) -> str:
        """The archive's address."""
        return self.archive.address

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._search_requested.set()
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the request in progress."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def label_changed(self) -> None:
        """Send soon."""
        self._wake.set()

    def request_search(self) -> None:
        """Search for new cines and send labels soon."""
        self._search_requested.set()
        self._wake.set()

    def image_removed(self, image_id: str) -> None:
        """Do not copy a removed image again."""
        with self.catalog.changing() as content:
            cine = content.cines.pop(image_id, None)
            if cine is not None:
                content.removed.append(cine.instance)
                content.counts.pop(cine.series, None)
                content.sent.pop(image_id, None)

    def instance_of(self, image_id: str, tag: str, version: int | None) -> dict[str, str] | None:
        """UIDs of a version of a label in the archive; None when it is not there."""
        sent = self.catalog.read().sent.get(image_id)
        if tag != FINAL or not sent or sent["version"] != version or not sent["instance"]:
            return None
        found = {"SeriesInstanceUID": sent["series"], "SOPInstanceUID": sent["instance"]}
        return found | ({"ReportInstanceUID": sent["report"]} if sent.get("report") else {})

    def status(self) -> dict[str, Any]:
        """State of the synchronisation, as clients see it."""
        return {
            "address": self.archive.address,
            "looking": self._search_requested.is_set() or self._pass.locked(),
            "last_look": self._last_search,
            "cines": len(self.catalog.read().cines),
            "waiting": [{"image": name, "version": number} for name, number in self._upload.pending().items()],
            "problems": self._problems,
        }

    def run_once(self, search: bool) -> None:
        """Send labels, after a search for new cines where asked. Failures are logged, and retried next time."""
        with self._pass:
            problems: list[str] = []
            try:
                with self._folder_lock.acquire(timeout=0):
                    if search:
                        self._last_search = datetime.now(UTC).isoformat(timespec="seconds")
                        copied, problems = self._mirror.copy_new(self._send_meanwhile)
                        problems += self._download.run()
                        if copied:
                            self.on_copied()
                    problems += self._upload.run()
            except Timeout:
                problems.append("another server is synchronising this folder with the archive")
            except FetalIQAError as problem:
                problems.append(str(problem))
            except OSError as problem:
                problems.append(f"the folder of copies cannot be written: {problem.strerror or problem}")
            except Exception:
                logger.exception("synchronisation with the archive failed")
                problems.append("synchronisation with the archive failed; see the server's log")
            for problem_text in problems:
                if problem_text not in self._problems:  # once, not at every pass
                    logger.error("%s", problem_text)
            self._problems = problems

    def _send_meanwhile(self) -> None:
        """Send what was saved while cines are being copied; failures are reported at the end of the pass."""
        if self._wake.is_set():
            self._wake.clear()
            self._upload.run()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            # both are cleared before the pass: a request during a pass is served by the next one
            self._wake.clear()
            search = self._search_requested.is_set() or (self._every > 0 and time.monotonic() >= due)
            if search:
                self._search_requested.clear()
            self.run_once(search)
            if search:
                due = time.monotonic() + self._every
            if not self._search_requested.is_set():  # a label sent in between may have taken its wake-up
                self._wake.wait(max(0.0, due - time.monotonic()) if self._every else None)
