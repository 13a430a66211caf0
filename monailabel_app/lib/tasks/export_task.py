"""Exports in a thread of the server, one at a time: progress, a ZIP to download, temporary files removed."""

from __future__ import annotations

import logging
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from fetaliqa.errors import FetalIQAError, OptionError, RequestStopped
from fetaliqa.export.export_options import ExportOptions
from fetaliqa.export.export_run import run_export
from fetaliqa.export.export_source import ExportSource
from fetaliqa.export.formats.format_registry import writer_named
from fetaliqa.export.frame_selection import Selection
from fetaliqa.extras import require_extra
from fetaliqa.labels.frame_record import MAX_TEXT
from monailabel_app.lib.files.locked_folder import EXPORT_PREFIX, LockedFolder
from monailabel_app.lib.http.refusal import Refused

logger = logging.getLogger(__name__)

KEYS = ("format", "selection", "name", "classes", "licence", "blank_outside", "report", "parquet", "model")
KEPT_SECONDS = 3600.0  # for which a finished ZIP is available
SIZE_CHECK_SECONDS = 2.0
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest in ZIP files; constant, so that exports are reproducible
UNFINISHED = ("RUNNING",)
CLOSE_SECONDS = 5.0  # for a thread to stop when the server ends


class _Stopped(Exception):
    """The export was cancelled."""


@dataclass
class ExportJob:
    """An export and its progress.

    Attributes:
        id: name in the URL.
        status: ``RUNNING``, ``DONE``, ``ERROR`` or ``STOPPED``.
        cases, total, frames: done, in all, written.
        message: of an error.
        card: data card of the finished export.
        locked_folder: its temporary folder.
    """

    id: str
    locked_folder: LockedFolder
    status: str = "RUNNING"
    cases: int = 0
    total: int = 0
    frames: int = 0
    message: str | None = None
    card: dict[str, Any] | None = None
    ended: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    @property
    def folder(self) -> Path:
        """Its temporary files."""
        return self.locked_folder.path

    @property
    def zip(self) -> Path:
        """The ZIP file; it exists once the status is ``DONE``."""
        return self.folder / "export.zip"

    def check(self) -> None:
        """End the export's thread when it was cancelled."""
        _check(self.stop)

    def to_json(self) -> dict[str, Any]:
        """The progress, as clients see it."""
        size = self.zip.stat().st_size if self.status == "DONE" and self.zip.exists() else None
        names = ("id", "status", "cases", "total", "frames", "message", "card")
        return {name: getattr(self, name) for name in names} | {"bytes": size}


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise _Stopped


class ExportTasks:
    """The exports of a server.

    Args:
        studies: folder of the studies.
        max_bytes: largest export, before it is packed.
    """

    def __init__(self, studies: Path, max_bytes: int) -> None:
        self._studies, self._max_bytes = studies, max_bytes
        self._lock = threading.Lock()
        self._job: ExportJob | None = None

    def start(self, request: Mapping[str, Any], services: Mapping[str, Any]) -> ExportJob:
        """Start an export; the previous one is removed.

        Args:
            request: JSON object with some of ``KEYS``.
            services: assessment service by model name.

        Raises:
            Refused: 429 while one runs; 400 for a bad request.
            FetalIQAError: likewise.
        """
        selection, options = parsed(request)
        service = _service(request, services)
        with self._lock:
            self._forget_old()
            running = self._job
            if running is not None and running.status in UNFINISHED:
                raise Refused(429, f"export {running.id} is running; wait for it, or DELETE /export/{running.id}")
            stop = threading.Event()
            source = ExportSource(
                self._studies,
                kind="studies",
                service=service,
                proposals=selection.takes_proposals,
                raters=options.report,
                alive=lambda: _check(stop),
            )
            self._remove()
            job = ExportJob(uuid4().hex, LockedFolder(EXPORT_PREFIX), stop=stop)
            job.thread = threading.Thread(target=self._run, args=(job, source, selection, options), daemon=True)
            self._job = job
            job.thread.start()
        return job

    def preview(
        self, request: Mapping[str, Any], services: Mapping[str, Any], stopped: Callable[[], bool]
    ) -> dict[str, Any]:
        """The data card that an export would have; nothing is written.

        Args:
            request, services: as of :meth:`start`.
            stopped: asked after each case whether the client has gone.

        Raises:
            RequestStopped: when the client has gone.
            Refused, FetalIQAError: as :meth:`start`.
        """

        def check(*_: Any) -> None:
            if stopped():
                raise RequestStopped()

        selection, options = parsed(request)
        source = ExportSource(
            self._studies,
            kind="studies",
            service=_service(request, services),
            proposals=selection.takes_proposals,
            raters=options.report,
            alive=check,
        )
        return run_export(source, None, selection, options, check)

    def job(self, job_id: str) -> ExportJob:
        """An export.

        Raises:
            Refused: 404 when there is none, or none any more.
        """
        with self._lock:
            self._forget_old()
            if self._job is None or self._job.id != job_id:
                raise Refused(
                    404, f"there is no export {job_id[:40]!r}; it was removed, or the server was restarted"
                )
            return self._job

    def delete(self, job_id: str) -> str:
        """Remove an export's files; a running one is cancelled, and removes them itself.

        Returns:
            ``REMOVED``, or ``STOPPING``.

        Raises:
            Refused: 404 when there is none.
        """
        job = self.job(job_id)
        job.stop.set()
        with self._lock:
            if job.status in UNFINISHED:
                return "STOPPING"
            if self._job is job:
                self._remove()
        return "REMOVED"

    def close(self) -> None:
        """Cancel a running export, and remove all files."""
        job = self._job
        if job is None:
            return
        job.stop.set()
        if job.thread is not None:
            job.thread.join(CLOSE_SECONDS)
        with self._lock:
            self._remove()

    def _run(self, job: ExportJob, source: ExportSource, selection: Selection, options: ExportOptions) -> None:
        try:
            check = _SizeCheck(job, self._max_bytes)
            card = run_export(source, job.folder / "data", selection, options, check)
            check.measure()
            _pack(job)
            shutil.rmtree(job.folder / "data")
            job.card, status = card, "DONE"
        except _Stopped:
            status = "STOPPED"
        except FetalIQAError as problem:
            job.message, status = str(problem), "ERROR"
        except OSError as problem:
            logger.exception("export %s failed", job.id)
            job.message, status = f"the export was not written: {problem.strerror or 'disk error'}", "ERROR"
        except Exception:
            logger.exception("export %s failed", job.id)
            job.message, status = "the export failed; see the server's log", "ERROR"
        if status != "DONE":
            job.locked_folder.remove()
        job.ended = time.monotonic()
        job.status = status
        forget = threading.Timer(KEPT_SECONDS + 1, self._forget_in_time)  # also when no request follows
        forget.daemon = True
        forget.start()

    def _forget_in_time(self) -> None:
        with self._lock:
            self._forget_old()

    def _forget_old(self) -> None:
        job = self._job
        if job is not None and job.ended is not None and time.monotonic() - job.ended > KEPT_SECONDS:
            self._remove()

    def _remove(self) -> None:
        if self._job is not None:
            self._job.locked_folder.remove()
            self._job = None


class _SizeCheck:
    """Progress callback that ends an export when it was cancelled or grows too large."""

    def __init__(self, job: ExportJob, max_bytes: int) -> None:
        self._job, self._max_bytes, self._next = job, max_bytes, 0.0

    def __call__(self, done: int, total: int, frames: int) -> None:
        job = self._job
        job.cases, job.total, job.frames = done, total, frames
        job.check()
        if time.monotonic() >= self._next:
            self.measure()
            self._next = time.monotonic() + SIZE_CHECK_SECONDS

    def measure(self) -> None:
        """End the export when it is too large."""
        written = sum(path.stat().st_size for path in self._job.folder.rglob("*") if path.is_file())
        if written > self._max_bytes:
            raise OptionError(
                f"the export is larger than the limit of {self._max_bytes / 1024**2:g} MiB; narrow the selection, "
                "or set the server's --conf max_export_mb"
            )


def parsed(request: Mapping[str, Any]) -> tuple[Selection, ExportOptions]:
    """Selection and options of a request.

    Raises:
        OptionError: for another key or value.
    """
    unknown = sorted(set(map(str, request)) - set(KEYS))
    if unknown:
        raise OptionError(f"unknown key {unknown[0][:80]!r}; known are {', '.join(KEYS)}")
    for key in ("blank_outside", "report", "parquet"):
        if not isinstance(request.get(key, False), bool):
            raise OptionError(f"{key} is {request[key]!r}; it must be true or false")
    for key in ("format", "name", "classes", "licence"):
        value = request.get(key)
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= MAX_TEXT):
            raise OptionError(f"{key} is {str(value)[:80]!r}; text of 1 to {MAX_TEXT} characters is needed")
    selection = Selection.from_json(request.get("selection") or {})
    chosen = request.get("format") or "png"
    needed = dict(writer_named(chosen).modules)
    needed |= {"pyarrow": "pyarrow"} if request.get("parquet") else {}
    require_extra("export", f"this export ({chosen})", needed)
    defaults = ExportOptions()
    options = ExportOptions(
        format=chosen,
        name=request.get("name") or defaults.name,
        classes=request.get("classes") or defaults.classes,
        licence=request.get("licence"),
        blank=request.get("blank_outside", False),
        report=request.get("report", False),
        parquet=request.get("parquet", False),
        skip_unreadable=True,
    )
    return selection, options


def _service(request: Mapping[str, Any], services: Mapping[str, Any]) -> Any:
    name = request.get("model")
    if name is None:
        return None
    if not isinstance(name, str) or name not in services:
        raise Refused(404, f"there is no model {str(name)[:80]!r}; known are {', '.join(services) or 'none'}")
    return services[name]


def _pack(job: ExportJob) -> None:
    """Write the ZIP; the files are compressed already."""
    root = job.folder / "data"
    with zipfile.ZipFile(job.zip, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(root.rglob("*")):
            job.check()
            if path.is_file():
                info = zipfile.ZipInfo(path.relative_to(root).as_posix(), ZIP_TIME)
                info.external_attr = 0o644 << 16
                with open(path, "rb") as source, archive.open(info, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
