"""Keeping the work on the desk in a journal, and offering what earlier sessions kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from FetalIQALib.casework import CaseWork
from FetalIQALib.failures import FileFailure
from FetalIQALib.hub import PROBLEM, Hub
from FetalIQALib.journal import Found, Journals, Kept, read_journal
from FetalIQALib.texts import _

EVERY_SECONDS = 3.0  # between two writes that carry no decision, and two attempts on a full disk


class Keeper:
    """Writes decisions to the journal as they are made.

    Args:
        hub: has the status line.
        journals: gives this computer's journals, or None before there is a connection.
        clock: seconds, monotonic.

    Attributes:
        offered: journals of earlier sessions of the same rater on the case, the newest first.
        others: journals on the case that are not offered: of another rater, or open in another Slicer.
    """

    def __init__(self, hub: Hub, journals: Callable[[], Journals | None], clock: Callable[[], float]) -> None:
        self.offered: list[Path] = []
        self.others: list[Found] = []
        self._hub = hub
        self._journals = journals
        self._clock = clock
        self._written: tuple[int, int] = (0, 0)  # revision and position in the journal
        self._tried = float("-inf")
        self._refused = False

    def begin(self, work: CaseWork, tag: str, position: int) -> bool:
        """Another case is on the desk; find what was kept of it. True when it is this session's own work.

        Raises:
            FileFailure: when that work cannot be put where nothing is written over it.
        """
        journals = self._journals()
        self._written = (work.revision, position)
        if journals is None:
            self.forget()
            return False
        own = journals.set_free(work.sweep.case, tag)
        self._look(journals, work, tag)
        if own not in self.offered:
            return False  # there is none, or another rater made it in this session
        self.offered = [
            own,
            *(path for path in self.offered if path != own),
        ]  # whatever the clocks of the files say
        return True

    def forget(self) -> None:
        """Another case comes, or none: nothing is offered."""
        self.offered, self.others = [], []

    def _look(self, journals: Journals, work: CaseWork, tag: str) -> None:
        """Tell what was kept of a case and may be gone on with from what may not."""
        found = journals.find(work.sweep.case, tag)
        self.offered = [one.path for one in found if one.rater == work.rater and not one.in_use]
        self.others = [one for one in found if one.path not in self.offered]

    def told_of_others(self) -> str:
        """A sentence on kept work that is not offered; empty without any."""
        told = []
        for rater in dict.fromkeys(one.rater for one in self.others if not one.in_use):
            if rater is None:
                told.append(_("Kept work on this case cannot be read; it stays where it is."))
            else:
                whose = rater or _("somebody without a name")
                told.append(_("Unsubmitted work of {rater} on this case is kept for them.").format(rater=whose))
        if any(one.in_use for one in self.others):
            told.append(_("Another Slicer that is running has unsubmitted work on this case."))
        return " ".join(told)

    def settled(self, work: CaseWork, position: int) -> None:
        """What is on the desk now is what the server has: nothing to write."""
        self._written = (work.revision, position)

    @property
    def journals(self) -> Journals | None:
        """Where work is kept now."""
        return self._journals()

    def keep(self, work: CaseWork | None, tag: str, position: int, force: bool = False) -> bool:
        """Write what changed: decisions at once, a mere change of the frame every few seconds.

        False, with a sentence on the status line, when the disk refuses; what was kept before stands.
        """
        journals, now = self._journals(), self._clock()
        if work is None or journals is None or not work.unsaved or self._written == (work.revision, position):
            return True
        decided = work.revision != self._written[0]
        if not force and now < self._tried + EVERY_SECONDS and (self._refused or not decided):
            return not self._refused
        self._tried = now
        try:
            journals.write(
                Kept(
                    case=work.sweep.case,
                    tag=tag,
                    rater=work.rater,
                    fingerprint=work.sweep.stack.fingerprint,
                    based_on=work.based_on,
                    position=position,
                    frames=work.frames,
                    sent=tuple(work.sent),
                )
            )
        except FileFailure as failure:
            self._refused = True
            self._hub.say(str(failure), PROBLEM)
            return False
        self._refused, self._written = False, (work.revision, position)
        return True

    def again(self) -> None:
        """Something that is kept beside the decisions changed: write the journal at the next occasion."""
        self._written = (-1, -1)

    def done(self, case: str, tag: str, journals: Journals | None) -> None:
        """The server has everything: this session's journal of a case goes, from where it was kept."""
        if journals is not None:
            journals.remove(case, tag)

    def put_aside(self, case: str, tag: str) -> None:
        """Keep this session's journal of a case, but do not offer it."""
        journals = self._journals()
        if journals is not None:
            journals.put_aside(journals.path(case, tag))

    def read_offered(self, work: CaseWork, tag: str) -> tuple[Path, Kept]:
        """The newest work that is offered, which is no longer offered then.

        Raises:
            FileFailure: when it is damaged, in use, or belongs to an image that was replaced since. It is offered
                on, after what else is offered.
        """
        path, journals = self.offered[0], self._journals()
        try:
            if journals is not None:
                journals.claim(path)
            kept = read_journal(path, work.sweep.count)
            if kept.rater != work.rater:
                raise FileFailure(
                    _("The work in {path} is that of {rater}; it stays there.").format(path=path, rater=kept.rater)
                )
            if kept.fingerprint != work.sweep.stack.fingerprint:
                raise FileFailure(
                    _("The image was replaced since the work of {when} was done; that stays in {path}.").format(
                        when=kept.saved, path=path
                    )
                )
        except FileFailure:
            self.offered = [*self.offered[1:], path]
            if journals is not None:
                journals.let_go(path)
                if not path.exists() or journals.in_use(path):
                    self._look(journals, work, tag)  # another Slicer has it, or had it, since it was offered
            raise
        self.offered.remove(path)
        return path, kept

    def dismiss(self) -> None:
        """Do not offer what earlier sessions kept; its files are put aside, and others' left alone."""
        journals = self._journals()
        if journals is not None:
            for path in self.offered:
                if not journals.in_use(path):
                    journals.put_aside(path)
        self.forget()

    def replaced(self, path: Path) -> None:
        """A journal was gone on with, and its work is in this session's: put it aside."""
        journals = self._journals()
        if journals is not None:
            journals.put_aside(path)
