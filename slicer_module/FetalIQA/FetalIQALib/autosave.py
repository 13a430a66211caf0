"""Autosave: writes the current work to a journal, and offers the work of earlier sessions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.client_errors import FileError
from FetalIQALib.journal import JournalFile, Journals, SavedWork, read_journal
from FetalIQALib.server_session import PROBLEM, ServerSession
from FetalIQALib.translation import _

EVERY_SECONDS = 3.0  # between two writes without label changes, and two attempts on a full disk


class Autosave:
    """Writes label changes to the journal as they are made.

    Args:
        session: for the status line.
        journals: returns this computer's journals; None before the first connection.
        clock: monotonic time in seconds.

    Attributes:
        offered: journals of earlier sessions of the same rater on the case, the newest first.
        others: journals on the case that are not offered: of another rater, or in use by another Slicer.
    """

    def __init__(
        self, session: ServerSession, journals: Callable[[], Journals | None], clock: Callable[[], float]
    ) -> None:
        self.offered: list[Path] = []
        self.others: list[JournalFile] = []
        self._session = session
        self._journals = journals
        self._clock = clock
        self._written: tuple[int, int] = (0, 0)  # revision and position in the journal
        self._tried = float("-inf")
        self._refused = False

    def start_case(self, annotation: CaseAnnotation, tag: str, position: int) -> bool:
        """Start with another case and look for saved work on it; True if this Slicer instance saved some.

        Raises:
            FileError: if that work cannot be protected from being overwritten.
        """
        journals = self._journals()
        self._written = (annotation.revision, position)
        if journals is None:
            self.clear_offers()
            return False
        own_journal = journals.detach(annotation.sweep.case, tag)
        self._find_journals(journals, annotation, tag)
        if own_journal not in self.offered:
            return False  # none, or another rater's in this Slicer instance
        self.offered = [
            own_journal,
            *(path for path in self.offered if path != own_journal),
        ]  # first, independent of file times
        return True

    def clear_offers(self) -> None:
        """Offer nothing."""
        self.offered, self.others = [], []

    def _find_journals(self, journals: Journals, annotation: CaseAnnotation, tag: str) -> None:
        """Find the journals on a case: those to offer, and others."""
        journal_files = journals.find(annotation.sweep.case, tag)
        self.offered = [
            journal_file.path
            for journal_file in journal_files
            if journal_file.rater == annotation.rater and not journal_file.in_use
        ]
        self.others = [journal_file for journal_file in journal_files if journal_file.path not in self.offered]

    def other_work_message(self) -> str:
        """Message on saved work that is not offered; empty for none."""
        messages = []
        for rater in dict.fromkeys(journal_file.rater for journal_file in self.others if not journal_file.in_use):
            if rater is None:
                messages.append(_("Saved work on this case cannot be read; the file is left unchanged."))
            else:
                name = rater or _("an unnamed rater")
                messages.append(
                    _("{rater} has unsubmitted work on this case, which stays saved.").format(rater=name)
                )
        if any(journal_file.in_use for journal_file in self.others):
            messages.append(_("Another running Slicer has unsubmitted work on this case."))
        return " ".join(messages)

    def mark_saved(self, annotation: CaseAnnotation, position: int) -> None:
        """The current labels are those of the server: nothing to write."""
        self._written = (annotation.revision, position)

    @property
    def journals(self) -> Journals | None:
        """The current journals."""
        return self._journals()

    def save_journal(
        self, annotation: CaseAnnotation | None, tag: str, position: int, force: bool = False
    ) -> bool:
        """Write changes: of labels at once, of the current frame every few seconds.

        Returns False, with a status message, if writing fails; the previous journal stays.
        """
        journals, now = self._journals(), self._clock()
        if (
            annotation is None
            or journals is None
            or not annotation.unsaved
            or self._written == (annotation.revision, position)
        ):
            return True
        labels_changed = annotation.revision != self._written[0]
        if not force and now < self._tried + EVERY_SECONDS and (self._refused or not labels_changed):
            return not self._refused
        self._tried = now
        try:
            journals.write(
                SavedWork(
                    case=annotation.sweep.case,
                    tag=tag,
                    rater=annotation.rater,
                    fingerprint=annotation.sweep.stack.fingerprint,
                    based_on=annotation.based_on,
                    position=position,
                    frames=annotation.frames,
                    sent=tuple(annotation.sent),
                    comment=annotation.comment,
                    seconds=annotation.seconds,
                )
            )
        except FileError as error:
            self._refused = True
            self._session.show_status(str(error), PROBLEM, error)
            return False
        self._refused, self._written = False, (annotation.revision, position)
        return True

    def mark_changed(self) -> None:
        """Request a write of the journal for a change other than of labels."""
        self._written = (-1, -1)

    def remove_submitted(self, case: str, tag: str, journals: Journals | None) -> None:
        """Remove this instance's journal of a case whose work has been submitted."""
        if journals is not None:
            journals.remove(case, tag)

    def archive(self, case: str, tag: str) -> None:
        """Archive this instance's journal of a case: kept, but not offered."""
        journals = self._journals()
        if journals is not None:
            journals.archive(journals.path(case, tag))

    def read_offered(self, annotation: CaseAnnotation, tag: str) -> tuple[Path, SavedWork]:
        """Read the newest offered work; it is not offered again.

        Raises:
            FileError: if it is damaged, in use, or belongs to an image that has changed since. It stays offered,
                as the last one.
        """
        path, journals = self.offered[0], self._journals()
        try:
            if journals is not None:
                journals.claim(path)
            saved = read_journal(path, annotation.sweep.count)
            if saved.rater != annotation.rater:
                raise FileError(
                    _("The work in {path} belongs to {rater}; it is left unchanged.").format(
                        path=path, rater=saved.rater
                    )
                )
            if saved.fingerprint != annotation.sweep.stack.fingerprint:
                raise FileError(
                    _("The image has changed since the work was saved ({time}); the work stays in {path}.").format(
                        time=saved.saved, path=path
                    )
                )
        except FileError:
            self.offered = [*self.offered[1:], path]
            if journals is not None:
                journals.release_claim(path)
                if not path.exists() or journals.in_use(path):
                    self._find_journals(journals, annotation, tag)  # another Slicer took it in the meantime
            raise
        self.offered.remove(path)
        return path, saved

    def dismiss(self) -> None:
        """Archive the offered journals; those of others are left unchanged."""
        journals = self._journals()
        if journals is not None:
            for path in self.offered:
                if not journals.in_use(path):
                    journals.archive(path)
        self.clear_offers()

    def archive_resumed(self, path: Path) -> None:
        """Archive a journal that was resumed; its work is now in this instance's journal."""
        journals = self._journals()
        if journals is not None:
            journals.archive(path)
