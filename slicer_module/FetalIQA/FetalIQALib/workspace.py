"""The annotator's workspace, independent of Slicer and Qt: session, worklist, case, training, review, export."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable

from FetalIQALib.carry_along import CarryAlong
from FetalIQALib.case_controller import CaseController
from FetalIQALib.case_flow import CaseFlow
from FetalIQALib.click_session import ClickSession
from FetalIQALib.client_errors import InvalidAction
from FetalIQALib.file_sending import FileSending
from FetalIQALib.http_client import Cancel, canonical_address
from FetalIQALib.journal import Journals
from FetalIQALib.label_review import LabelReview
from FetalIQALib.model_training import ModelTraining
from FetalIQALib.png_export import export_case
from FetalIQALib.server_export import ServerExport
from FetalIQALib.server_session import BUSY, DEFAULT_TAG, ServerSession
from FetalIQALib.task_runner import TaskRunner
from FetalIQALib.translation import _
from FetalIQALib.work_counts import WorkCounts
from FetalIQALib.worklist import Worklist

LEAVE_SECONDS = 1.0  # that closing waits for the release of the leased case; Slicer ends threads when it exits


class Workspace:
    """Session, worklist and current case of one user.

    Args:
        folder: of unsubmitted work on this computer.
        clock: monotonic time in seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.runner = TaskRunner()
        self.session = ServerSession(self.runner)
        self.journals: Journals | None = None
        self.worklist = Worklist(self.session, lambda: self.journals)
        self.controller = CaseController(self.session, self.worklist, lambda: self.journals, clock)
        self.counts = WorkCounts(folder)
        self.flow = CaseFlow(self.session, self.worklist, self.controller, self.counts)
        self.clicks = ClickSession(self.controller)
        self.carry = CarryAlong(self.controller)
        self.sending = FileSending(self.controller, self.worklist)
        self.training = ModelTraining(self.session, clock)
        self.server_export = ServerExport(self.session)
        self.review = LabelReview(self.session, self.controller, self.worklist)

    def connect(self, address: str, token: str = "", rater: str = "", tag: str = DEFAULT_TAG) -> bool:
        """Connect to a server and read its worklist.

        A change of server or label closes the current case, and so does a change of the rater while work is not
        submitted; the work stays saved for its rater.
        """
        old_tag = self.session.tag

        def connected() -> None:
            client = self.session.client
            assert client is not None
            server_changed = self.journals is None or self.journals.server != canonical_address(
                client.http.address
            )
            self.controller.before_action()  # a pending stroke belongs to the previous rater
            annotation = self.controller.annotation
            rater_changed = (
                annotation is not None and annotation.unsaved and annotation.rater not in ("", self.session.rater)
            )
            if server_changed or old_tag != self.session.tag or rater_changed:
                if not self.controller.close():
                    return  # the work cannot be saved; the case stays open
                self.worklist.suggested.clear()
            if server_changed:
                self._release_journals()
                self.journals = Journals(self.folder, client.http.address)
            if self.controller.annotation is not None and self.controller.annotation.rater != self.session.rater:
                self.controller.annotation.rater = self.session.rater
                self.controller.autosave.mark_changed()  # the journal contains the rater
            self.worklist.refresh(quiet=True)
            self.training.refresh()

        return self.session.connect(address, token, rater, tag or DEFAULT_TAG, connected)

    def open_next(self, strategy: str) -> bool:
        """Open the next case, see ``CaseFlow.next``."""
        return self.flow.next(strategy)

    def pump(self, wait: float = 0.0) -> None:
        """Deliver results and save changes; called several times a second on the main thread.

        Args:
            wait: seconds to wait while requests run, see ``TaskRunner.pump``.
        """
        if wait and self.worklist.lease.releasing:
            self.worklist.lease.wait_released(wait)
        self.runner.pump(wait)
        self.controller.save_journal()
        self.training.poll()
        self.server_export.poll()
        self.sending.poll()

    def export(self, folder: Path) -> bool:
        """Export the labelled frames of the current case as PNG files with a table."""
        annotation = self.controller.annotation
        if annotation is None:
            self.session.show_error(InvalidAction(_("Open a case first.")))
            return False
        self.controller.before_action()
        sweep, frames = annotation.sweep, dict(annotation.frames)

        def done(target: Path) -> None:
            self.session.show_status(_("Exported to {folder}.").format(folder=target))

        def write(cancel: Cancel) -> Path:
            return export_case(sweep, frames, folder, cancel)

        if not self.runner.start("export", write, done, self.session.show_error):
            return False
        self.session.show_status(_("Exporting …"), BUSY)
        return True

    def close(self) -> None:
        """Save the work, cancel requests and release the leased case."""
        self.controller.before_action()
        self.controller.save_journal(force=True)
        self.runner.cancel_all()
        self.worklist.lease.release()
        self.worklist.lease.wait_released(LEAVE_SECONDS)
        self._release_journals()

    def _release_journals(self) -> None:
        if self.journals is not None:
            self.journals.close()
