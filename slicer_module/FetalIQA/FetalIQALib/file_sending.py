"""Sending of a local image to the server as a new case, which is then opened."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from FetalIQALib.case_controller import CaseController
from FetalIQALib.case_names import checked_case
from FetalIQALib.client_errors import FetalIQAError
from FetalIQALib.dicom_cines import cine_files, joined_cine
from FetalIQALib.http_client import Cancel
from FetalIQALib.image_upload import checked_file, upload_image
from FetalIQALib.sequence_files import write_sequence
from FetalIQALib.server_client import ServerClient
from FetalIQALib.server_session import BUSY, ServerChange
from FetalIQALib.translation import _
from FetalIQALib.worklist import Worklist

KIND = "send"  # of the requests
Source = Callable[[Path], tuple[Path, str]]  # makes the file in a temporary folder: path and suffix


class FileSending:
    """Sends files, DICOM series and sequences.

    Args:
        controller: that opens the new case.
        worklist: of the server.

    Attributes:
        progress: share of the file that was sent; None while nothing is sent.
    """

    def __init__(self, controller: CaseController, worklist: Worklist) -> None:
        self.controller = controller
        self.worklist = worklist
        self.progress: float | None = None
        self._message = self._shown = ""
        controller.session.changes[KIND] = ServerChange(_("sending a file"), self._refresh, "worklist")

    def send_file(self, path: Path, case: str) -> bool:
        """Send an image file; a single-frame DICOM file with the others of its series in its folder."""

        def source(folder: Path) -> tuple[Path, str]:
            suffix = checked_file(path)
            files = cine_files(path)
            return (path, suffix) if len(files) == 1 else (joined_cine(files, folder), ".dcm")

        return self._send(source, case)

    def send_dicom(self, files: Sequence[Path], case: str) -> bool:
        """Send the files of a DICOM series as one case."""
        return self._send(lambda folder: (joined_cine(files, folder), ".dcm"), case)

    def send_frames(self, frames: np.ndarray, spacing_mm: tuple[float, float] | None, case: str) -> bool:
        """Send frames [T, H, W], such as those of a sequence node."""

        def source(folder: Path) -> tuple[Path, str]:
            write_sequence(folder / "frames.seq.nrrd", frames, spacing_mm)
            return folder / "frames.seq.nrrd", ".nrrd"

        return self._send(source, case)

    def poll(self) -> None:
        """Show the progress; called by the timer."""
        if not self.controller.session.runner.busy(KIND):
            self.progress = None
        elif self._message != self._shown:
            self._shown = self._message
            self.controller.session.show_status(self._shown, BUSY)

    def _send(self, source: Source, case: str) -> bool:
        session = self.controller.session
        name = case.strip()
        try:
            if not name:
                raise FetalIQAError(_("Enter a name for the new case."))
            checked_case(name)
        except FetalIQAError as error:
            session.show_error(error)
            return False
        self._message = self._shown = ""

        def request(client: ServerClient, cancel: Cancel) -> str:
            with tempfile.TemporaryDirectory(prefix="fetaliqa-") as folder:
                path, suffix = source(Path(folder))
                return upload_image(client.http, path, suffix, name, cancel, progress)

        def progress(done: int, total: int) -> None:
            self.progress = done / max(total, 1)
            text = _("Sending {case}: {done:.0f} of {total:.0f} MB …")
            if done >= total:
                text = _("Sending {case}: {total:.0f} MB sent; the server checks the file …")
            self._message = text.format(case=name, done=done / 1e6, total=total / 1e6)

        def done(sent: str) -> None:
            self.progress = None
            session.show_status(_("{case} is on the server.").format(case=sent))
            self.worklist.refresh(lambda: self._open(sent), quiet=True)

        def failed(error: FetalIQAError) -> None:
            self.progress = None
            session.show_error(error)

        return session.request(KIND, request, done, _("Sending {case} …").format(case=name), failed)

    def _open(self, case: str) -> None:
        self.controller.open(case)

    def _refresh(self) -> None:
        """Read the worklist again after a canceled request, which the server may have completed."""
        self.worklist.refresh(quiet=True)
