"""The case on the desk: opening, deciding frame by frame, submitting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from FetalIQALib.casework import CaseWork
from FetalIQALib.client import Client
from FetalIQALib.failures import Failure, FileFailure, NotPossible, NotThere
from FetalIQALib.http import Cancel
from FetalIQALib.hub import BUSY, PROBLEM, Change, Hub
from FetalIQALib.journal import Journals
from FetalIQALib.keeping import Keeper
from FetalIQALib.measuring import Measurements
from FetalIQALib.opening import Opened, assess_case, open_case
from FetalIQALib.outline import Measurement
from FetalIQALib.replies import Saved
from FetalIQALib.submitting import Conflicting, Outcome, Sent, Submission
from FetalIQALib.sweep import Assessment
from FetalIQALib.texts import _
from FetalIQALib.worklist import Worklist


class Desk:
    """One case at a time.

    Args:
        hub: the connection.
        worklist: the cases.
        journals: gives this computer's journals, or None before there is a connection.
        clock: seconds, monotonic.

    Attributes:
        work: the decisions on the case; None while there is none on the desk.
        tag: the label they are for.
        position: the frame that is looked at.
        conflict: what somebody else saved, after a submit was refused.
        before_action: called before anything that decides, so that strokes of the scene are taken over first.
    """

    def __init__(
        self,
        hub: Hub,
        worklist: Worklist,
        journals: Callable[[], Journals | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hub = hub
        self.worklist = worklist
        self.work: CaseWork | None = None
        self.tag = hub.tag
        self.position = 0
        self.conflict: Conflicting | None = None
        self.before_action: Callable[[], None] = lambda: None
        self.keeper = Keeper(hub, journals, clock)
        self._clock = clock
        self._sent: Sent | None = None
        hub.changes["submit"] = Change(_("the submission"), self._ask_what_was_saved, "submitted")
        self._measurements = Measurements()

    # -- opening ------------------------------------------------------------------------------------

    def open(self, case: str) -> bool:
        """Bring a case onto the desk, submitted ones too. What was done on the one before stays kept."""
        self.before_action()
        if not self.keep(force=True):
            return False
        row = self.worklist.row(case)
        tag, suffix = self.hub.tag, row.suffix if row is not None else ""
        suggested = self.worklist.suggested.get(case)
        self.hub.runner.cancel("open")
        self.hub.runner.cancel("assess")

        def work(client: Client, cancel: Cancel) -> Opened:
            opened = open_case(client, case, suffix, tag, cancel)
            frames = suggested.frames if suggested is not None else ()
            return replace(opened, sweep=replace(opened.sweep, suggested=frames))

        def done(opened: Opened) -> None:
            self._put_on_desk(opened, tag)

        return self.hub.ask("open", work, done, _("Loading {case} …").format(case=case))

    def _put_on_desk(self, opened: Opened, tag: str) -> None:
        self.before_action()
        if not self.keep(force=True):
            return
        work = CaseWork(opened.sweep, self.hub.rater, self._clock)
        position = (opened.sweep.suggestions() or (0,))[0]
        try:
            own = self.keeper.begin(work, tag, position)
        except FileFailure as failure:
            self.keeper.again()
            self.hub.fail(failure)
            return
        work.replace_all(opened.frames, opened.label.version if opened.label is not None else 0, saved=True)
        self.work, self.tag, self.conflict = work, tag, None
        self.keeper.settled(work, position)
        self.position = position
        work.look_at(self.position)
        told = _("{case} is open.") if not self.keeper.offered else _("{case} is open. Resume your work on it?")
        self.worklist.lease.left(opened.sweep.case)
        self.hub.say(f"{told.format(case=opened.sweep.case)} {self.keeper.told_of_others()}".strip())
        self.hub.tell("case")
        self.assess()
        if own:  # what was done on it before, in this very session, and not submitted
            self.resume()

    def assess(self, search: bool = True) -> bool:
        """Ask the model about the case on the desk: first for its best frame, then for all frames."""
        work = self._needed()
        case, stack = work.sweep.case, work.sweep.stack

        def ask(client: Client, cancel: Cancel) -> Assessment:
            return assess_case(client, case, stack, cancel, search)

        def done(assessment: Assessment) -> None:
            self.before_action()  # a stroke that is not taken over yet would be drawn over
            if self.work is not work:
                return  # another case is on the desk by now
            first = work.sweep.assessment is None
            work.sweep = replace(work.sweep, assessment=assessment)
            told = assessment.sentence()
            self.hub.tell("case")
            if first and self.position == 0 and not work.unsaved and assessment.best is not None:
                self.go_to((work.sweep.suggestions() or (assessment.best,))[0])
            if assessment.whole or not search:
                self.hub.say(told)
            elif self.assess(search=False):
                self.hub.say(_("{found} The model looks at the other frames …").format(found=told), BUSY)

        return self.hub.ask("assess", ask, done, _("The model looks at {case} …").format(case=case))

    def close(self) -> bool:
        """Clear the desk; the work stays kept. False, and it stays on the desk, when the disk refuses it."""
        self.before_action()
        if not self.keep(force=True):
            return False
        self.hub.runner.cancel("open")
        self.hub.runner.cancel("assess")
        self.work, self.conflict = None, None
        self.keeper.forget()
        self.worklist.lease.left()
        self.hub.tell("case")
        return True

    # -- keeping ------------------------------------------------------------------------------------

    def keep(self, force: bool = False) -> bool:
        """Write what changed to the journal; False, with a sentence, when the disk refuses."""
        return self.keeper.keep(self.work, self.tag, self.position, force)

    def resume(self) -> bool:
        """Go on with the newest work that was kept and not submitted."""
        work = self._needed()
        if not self.keeper.offered:
            told = _("There is no unsubmitted work of yours on this case.")
            self.hub.fail(NotPossible(f"{told} {self.keeper.told_of_others()}".strip()))
            return False
        self.before_action()
        if not self.keep(force=True):
            return False
        try:
            path, kept = self.keeper.read_offered(work, self.tag)
        except FileFailure as failure:
            self.hub.fail(failure)
            self.hub.tell("kept")
            return False
        if work.unsaved:  # what was begun before resuming is not lost either
            self.keeper.put_aside(work.sweep.case, self.tag)
        work.replace_all(kept.frames, kept.based_on, saved=False)
        work.sent = list(kept.sent)
        self.position = kept.position
        work.look_at(self.position)
        if self.keep(force=True):
            self.keeper.replaced(path)
        self.hub.say(_("Resumed the work of {when}.").format(when=kept.saved))
        for topic in ("kept", "frames", "position"):
            self.hub.tell(topic)
        return True

    def dismiss_kept(self) -> None:
        """Do not offer the kept work any more; its files are put aside, not removed."""
        self.keeper.dismiss()
        self.hub.tell("kept")

    # -- looking and deciding -----------------------------------------------------------------------

    def go_to(self, frame: int) -> None:
        """Look at a frame. Nothing is decided by that."""
        work = self.work
        if work is None:
            return
        self.before_action()
        self.position = min(max(int(frame), 0), work.sweep.count - 1)
        work.look_at(self.position)
        self.keep()
        self.hub.tell("position")

    def act(self, name: str, action: Callable[[CaseWork], str | None]) -> bool:
        """Do one action on the case; a failure is a sentence on the status line, and changes nothing."""
        try:
            work = self._needed()
            self.before_action()
            told = action(work)
        except Failure as failure:
            self.hub.fail(failure)
            return False
        self.hub.say(told or _("Frame {frame}: {action}.").format(frame=self.position, action=name))
        self.keep()
        self.hub.tell("frames")
        return True

    def drawn(self, frame: int, mask: np.ndarray, name: str) -> bool:
        """The mask of a frame was drawn, [H, W]: one action."""

        def correct(work: CaseWork) -> None:
            work.correct(frame, mask, name)

        return self.act(name, correct)

    def _needed(self) -> CaseWork:
        if self.work is None:
            raise NotPossible(_("Open a case first."))
        return self.work

    def measurement(self, frame: int) -> Measurement:
        """Ellipse and circumference of a person's mask of a frame; of the proposal while nothing is decided."""
        return self._measurements.of(self._needed(), frame)

    # -- submitting ---------------------------------------------------------------------------------

    def submit(self, tag: str = "") -> bool:
        """Send what was decided as the next version of the label (or of another), and stay on the case."""
        target = tag or self.tag
        try:
            work = self._needed()
            self.before_action()
            if not any(frame.decided for frame in work.frames.values()) and not work.based_on:
                raise NotPossible(_("No frame is decided yet; there is nothing to submit."))
        except NotPossible as failure:
            self.hub.fail(failure)
            return False
        submission = Submission.of(work, target, work.based_on if target == self.tag else 0)
        self.keeper.again()  # the journal also remembers what was sent
        self.keep(force=True)

        sent = Sent(work, submission, self.tag, self.keeper.journals)

        def done(outcome: Outcome) -> None:
            self.before_action()  # see assess
            self._submitted(sent, outcome)

        if not self.hub.runner.busy("submit"):
            self._sent = sent
        return self.hub.ask("submit", submission.send, done, _("Submitting {case} …").format(case=submission.case))

    def _ask_what_was_saved(self) -> None:
        """Nobody waits for the answer to the last submit any more: look whether its label is on the server."""
        sent = self._sent
        if sent is None:
            return
        submission, work = sent.submission, sent.work

        def ask(client: Client, cancel: Cancel) -> Saved | None:
            try:
                return client.label_info(submission.case, submission.tag, cancel)
            except NotThere:
                return None

        def done(saved: Saved | None) -> None:
            token = "" if saved is None else str(saved.info.get("submission") or "")
            if saved is not None and [submission.token] == [token] == work.sent[-1:]:
                self.before_action()  # see assess
                self._submitted(sent, saved.version)
                return
            if sent is self._sent and work.unsaved:
                self.hub.say(_("The server has not saved {case} so far.").format(case=submission.case), PROBLEM)
            self.worklist.refresh(quiet=True)

        self.hub.ask("submitted", ask, done, "")

    def _submitted(self, sent: Sent, outcome: Outcome) -> None:
        """The answer to a submit."""
        work, submission, kept_under = sent.work, sent.submission, sent.kept_under
        on_desk = self.work is work
        if isinstance(outcome, Conflicting):
            if on_desk:
                self.conflict = outcome
            self.hub.say(outcome.sentence, PROBLEM)
            self.hub.tell("conflict")
            return
        if submission.tag == kept_under:
            work.based_on = outcome
        work.saved_revision = max(work.saved_revision, submission.revision)
        if work.unsaved and on_desk:
            self.keeper.again()  # the journal still names the version before
            self.keep(force=True)
        elif not work.unsaved and (on_desk or not self._is_on_desk(submission.case, kept_under)):
            self.keeper.done(submission.case, kept_under, sent.journals)
            if self.worklist.lease.case == submission.case:
                self.worklist.lease.left()
        self.hub.say(
            _("{case}: version {version} of label {tag} is saved.").format(
                case=submission.case, version=outcome, tag=submission.tag
            )
        )
        self.hub.tell("frames")
        self.worklist.refresh(quiet=True)

    def _is_on_desk(self, case: str, tag: str) -> bool:
        return self.work is not None and (self.work.sweep.case, self.tag) == (case, tag)

    def resolve(self, choice: str, tag: str = "") -> bool:
        """Settle a conflict.

        Args:
            choice: ``mine`` (becomes the next version; theirs stays in the history), ``theirs`` (is loaded;
                mine is put aside on this computer) or ``both`` (mine is saved under another label).
            tag: that other label.
        """
        work, conflict = self.work, self.conflict
        if work is None or conflict is None:
            return False
        self.before_action()
        if choice == "theirs":
            return self._take(work, conflict)
        if choice == "both" and (not tag or tag == self.tag):
            self.hub.fail(NotPossible(_("Name another label to keep both.")))
            return False
        self.conflict = None
        if choice == "mine":
            work.based_on = conflict.version
        self.hub.tell("conflict")
        return self.submit(tag if choice == "both" else "")

    def _take(self, work: CaseWork, conflict: Conflicting) -> bool:
        if not self.keep(force=True):
            return False
        self.keeper.put_aside(work.sweep.case, self.tag)
        work.replace_all(conflict.frames, conflict.version, saved=True)
        self.conflict = None
        self.keeper.again()
        self.hub.say(_("Version {version} is loaded; yours is put aside.").format(version=conflict.version))
        for topic in ("conflict", "frames"):
            self.hub.tell(topic)
        return True
