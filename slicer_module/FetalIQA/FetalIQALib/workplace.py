"""The annotator's workplace but for Slicer and Qt: a window shows it, a scene draws it, a timer pumps it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable

from FetalIQALib.desk import Desk
from FetalIQALib.export import export_case
from FetalIQALib.failures import NotPossible
from FetalIQALib.http import Cancel, same_server
from FetalIQALib.hub import BUSY, DEFAULT_TAG, Hub
from FetalIQALib.journal import Journals
from FetalIQALib.learning import Learning
from FetalIQALib.list_export import ListExport
from FetalIQALib.reviewing import Reviewing
from FetalIQALib.tasks import TaskRunner
from FetalIQALib.texts import _
from FetalIQALib.worklist import Worklist

LEAVE_SECONDS = 1.0  # that closing waits for the leased case to be given back; Slicer ends threads when it ends


class Workplace:
    """Connection, worklist and desk of one user.

    Args:
        folder: where unsubmitted work is kept on this computer.
        clock: seconds, monotonic.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.runner = TaskRunner()
        self.hub = Hub(self.runner)
        self.journals: Journals | None = None
        self.worklist = Worklist(self.hub, lambda: self.journals)
        self.desk = Desk(self.hub, self.worklist, lambda: self.journals, clock)
        self.learning = Learning(self.hub, clock)
        self.list_export = ListExport(self.hub)
        self.reviewing = Reviewing(self.hub, self.desk, self.worklist)

    def connect(self, address: str, token: str = "", rater: str = "", tag: str = DEFAULT_TAG) -> bool:
        """Connect to a server and read its worklist.

        Another server or label clears the desk, and so does another rater while work is not submitted; the work is
        kept for whose it is.
        """
        old_tag = self.hub.tag

        def connected() -> None:
            client = self.hub.client
            assert client is not None
            other = self.journals is None or self.journals.server != same_server(client.http.address)
            self.desk.before_action()  # a stroke is of whoever drew it
            work = self.desk.work
            not_theirs = work is not None and work.unsaved and work.rater not in ("", self.hub.rater)
            if other or old_tag != self.hub.tag or not_theirs:
                if not self.desk.close():
                    return  # the disk refuses the work, which stays on the desk
                self.worklist.suggested.clear()
            if other:
                self._release_journals()
                self.journals = Journals(self.folder, client.http.address)
            if self.desk.work is not None and self.desk.work.rater != self.hub.rater:
                self.desk.work.rater = self.hub.rater
                self.desk.keeper.again()  # the journal says whose work it is
            self.worklist.refresh(quiet=True)
            self.learning.refresh()

        return self.hub.connect(address, token, rater, tag or DEFAULT_TAG, connected)

    def open_next(self, strategy: str) -> bool:
        """Open the case that the server's strategy wants next, other than the one on the desk."""
        work = self.desk.work
        return self.worklist.next_case(strategy, self.desk.open, () if work is None else (work.sweep.case,))

    def pump(self) -> None:
        """Deliver what arrived and keep what changed; called several times a second on the main thread."""
        self.runner.pump()
        self.desk.keep()
        self.learning.poll()
        self.list_export.poll()

    def export(self, folder: Path) -> bool:
        """Write the decided frames of the case on the desk as PNG files with a table."""
        work = self.desk.work
        if work is None:
            self.hub.fail(NotPossible(_("Open a case first.")))
            return False
        self.desk.before_action()
        sweep, frames = work.sweep, dict(work.frames)

        def done(made: Path) -> None:
            self.hub.say(_("Exported to {folder}.").format(folder=made))

        def write(cancel: Cancel) -> Path:
            return export_case(sweep, frames, folder, cancel)

        if not self.runner.start("export", write, done, self.hub.fail):
            return False
        self.hub.say(_("Exporting …"), BUSY)
        return True

    def leave(self) -> None:
        """The window closes: take over strokes, keep the work, give up requests, give the leased case back."""
        self.desk.before_action()
        self.desk.keep(force=True)
        self.runner.cancel_all()
        self.worklist.lease.left()
        self.worklist.lease.settle(LEAVE_SECONDS)
        self._release_journals()

    def _release_journals(self) -> None:
        if self.journals is not None:
            self.journals.close()
