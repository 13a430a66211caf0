"""Exporting the cases of the worklist: the server makes the export (docs/export.md), this brings its zip here."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from FetalIQALib.client import Client
from FetalIQALib.export import appearing, free_name
from FetalIQALib.failures import BadReply, Canceled, Failure, NotPossible, NotThere, Refused
from FetalIQALib.http import Cancel
from FetalIQALib.hub import BUSY, DEFAULT_TAG, Hub
from FetalIQALib.texts import _
from FetalIQALib.worklist import Row

FORMATS = ("png", "tiff", "nifti", "mha", "nnunet", "coco", "yolo", "imagefolder", "acouslic", "dicom")
POLL_SECONDS = 1.0  # between two looks at how far the server is
LABEL = DEFAULT_TAG  # the label that the server exports, whatever others there are


class ListExport:
    """The export of several cases by the server.

    Args:
        hub: the connection.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._progress = ""  # set by the task's thread, shown by the timer
        self._shown = ""

    def start(self, rows: Sequence[Row], folder: Path, format: str = FORMATS[0]) -> bool:
        """Export the confirmed frames of those of the rows that have a final label, as a zip into a folder."""
        cases = [row.case for row in rows if LABEL in row.tags]
        if not cases:
            told = _("None of the listed cases has a label {tag}, which is what the server exports.")
            self.hub.fail(NotPossible(told.format(tag=LABEL)))
            return False
        self._progress = self._shown = ""

        def work(client: Client, cancel: Cancel) -> Path:
            return self._export(client, {"format": format, "selection": {"cases": cases}}, folder, cancel)

        def done(made: Path) -> None:
            self.hub.say(_("{count} cases are exported to {file}.").format(count=len(cases), file=made))

        def failed(failure: Failure) -> None:
            if isinstance(failure, Refused) and failure.status == 429:
                failure = Failure(_("The server makes another export right now; try again when it is done."))
            elif isinstance(failure, NotThere):
                failure = Failure(_("This server cannot do that: {detail}").format(detail=failure))
            self.hub.fail(failure)

        busy = _("The server exports {count} cases …").format(count=len(cases))
        return self.hub.ask("list export", work, done, busy, failed)

    def poll(self) -> None:
        """Show how far it is; called by the timer."""
        if self._progress != self._shown and self.hub.runner.busy("list export"):
            self._shown = self._progress
            self.hub.say(self._shown, BUSY)

    def _export(self, client: Client, request: Mapping[str, Any], folder: Path, cancel: Cancel) -> Path:
        """For a task's thread; nothing is left on the server or in the folder when it fails or is given up."""
        job = client.start_export(request, Cancel())  # not given up: the export's id would be lost
        try:
            while job.status == "RUNNING":
                if cancel.wait(POLL_SECONDS):
                    raise Canceled(_("Given up; nothing was exported."))
                job = client.export_status(job.id, cancel)
                self._progress = _("Exporting: {done} of {total} cases, {frames} frames …").format(
                    done=job.cases, total=job.total, frames=job.frames
                )
            if job.status != "DONE":
                stopped = _("The export was stopped on the server.")
                raise Failure(job.message or stopped)
            return self._fetch(client, job.id, folder, cancel)
        finally:
            with suppress(Failure):
                client.remove_export(job.id, Cancel())

    def _fetch(self, client: Client, job: str, folder: Path, cancel: Cancel) -> Path:
        def progress(done: int, total: int | None) -> None:
            self._progress = _("Exporting: {size:.0f} MB arrived …").format(size=done / 1e6)

        target = free_name(folder, "fetaliqa-export", ".zip")
        with appearing(target) as made:
            client.download_export(job, made, cancel, progress)
            if not zipfile.is_zipfile(made):
                raise BadReply(_("What the server sent as the export is no zip file; try again."))
        return target
