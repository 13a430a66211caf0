"""Export of worklist cases by the server (docs/export.md), and download of its zip file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from FetalIQALib.client_errors import (
    FetalIQAError,
    InvalidAction,
    InvalidResponse,
    NotFound,
    RequestCanceled,
    RequestRefused,
)
from FetalIQALib.http_client import Cancel
from FetalIQALib.png_export import atomic_path, unused_path
from FetalIQALib.server_client import ServerClient
from FetalIQALib.server_session import BUSY, DEFAULT_TAG, ServerSession
from FetalIQALib.translation import _
from FetalIQALib.worklist import WorklistRow

FORMATS = ("png", "tiff", "nifti", "mha", "nnunet", "coco", "yolo", "imagefolder", "acouslic", "dicom")
POLL_SECONDS = 1.0  # between two status requests
LABEL = DEFAULT_TAG  # tag of the label that the server exports


class ServerExport:
    """Export of several cases by the server.

    Args:
        session: the server session.
    """

    def __init__(self, session: ServerSession) -> None:
        self.session = session
        self._progress = ""  # set in the task's thread, shown by the timer
        self._shown = ""

    def start(self, rows: Sequence[WorklistRow], folder: Path, format: str = FORMATS[0]) -> bool:
        """Export the confirmed frames of the rows with a final label, as a zip file in a folder."""
        cases = [row.case for row in rows if LABEL in row.tags]
        if not cases:
            template = _("None of the listed cases has a label {tag}; only that label is exported.")
            self.session.show_error(InvalidAction(template.format(tag=LABEL)))
            return False
        self._progress = self._shown = ""

        def function(client: ServerClient, cancel: Cancel) -> Path:
            return self._export(client, {"format": format, "selection": {"cases": cases}}, folder, cancel)

        def done(target: Path) -> None:
            self.session.show_status(_("Exported {count} cases to {file}.").format(count=len(cases), file=target))

        def failed(failure: FetalIQAError) -> None:
            if isinstance(failure, RequestRefused) and failure.status == 429:
                failure = FetalIQAError(_("Another export is running on the server; try again later."))
            elif isinstance(failure, NotFound):
                failure = FetalIQAError(_("Not supported by this server: {detail}").format(detail=failure))
            self.session.show_error(failure)

        busy = _("Exporting {count} cases …").format(count=len(cases))
        return self.session.request("server export", function, done, busy, failed)

    def poll(self) -> None:
        """Show the progress; called by the timer."""
        if self._progress != self._shown and self.session.runner.busy("server export"):
            self._shown = self._progress
            self.session.show_status(self._shown, BUSY)

    def _export(self, client: ServerClient, request: Mapping[str, Any], folder: Path, cancel: Cancel) -> Path:
        """Runs in a task's thread; leaves nothing on the server or in the folder if it fails or is canceled."""
        job = client.start_export(request, Cancel())  # not canceled: the export's id would be lost
        try:
            while job.status == "RUNNING":
                if cancel.wait(POLL_SECONDS):
                    raise RequestCanceled(_("Canceled; nothing was exported."))
                job = client.export_status(job.id, cancel)
                self._progress = _("Exporting: {done} of {total} cases, {frames} frames …").format(
                    done=job.cases, total=job.total, frames=job.frames
                )
            if job.status != "DONE":
                default = _("The export was stopped on the server.")
                raise FetalIQAError(job.message or default)
            return self._fetch(client, job.id, folder, cancel)
        finally:
            with suppress(FetalIQAError):
                client.remove_export(job.id, Cancel())

    def _fetch(self, client: ServerClient, job: str, folder: Path, cancel: Cancel) -> Path:
        def progress(done: int, total: int | None) -> None:
            self._progress = _("Exporting: {size:.0f} MB received …").format(size=done / 1e6)

        target = unused_path(folder, "fetaliqa-export", ".zip")
        with atomic_path(target) as download:
            client.download_export(job, download, cancel, progress)
            if not zipfile.is_zipfile(download):
                raise InvalidResponse(_("The export from the server is not a zip file; try again."))
        return target
