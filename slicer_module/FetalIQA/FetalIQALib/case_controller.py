"""Controller of the current case: opening, labelling, submitting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from FetalIQALib.autosave import Autosave
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.case_loading import LoadedCase, assess_case, open_case
from FetalIQALib.client_errors import FetalIQAError, FileError, InvalidAction, NotFound
from FetalIQALib.download_progress import Download
from FetalIQALib.ellipse_measurement import Measurement
from FetalIQALib.frame_annotations import PROPOSED, Origin
from FetalIQALib.http_client import Cancel
from FetalIQALib.journal import Journals
from FetalIQALib.label_submission import ConflictingVersion, Outcome, Sent, Submission
from FetalIQALib.measurement_cache import MeasurementCache
from FetalIQALib.server_client import ServerClient
from FetalIQALib.server_responses import LabelVersion
from FetalIQALib.server_session import BUSY, PROBLEM, ServerChange, ServerSession
from FetalIQALib.sweep_data import Assessment
from FetalIQALib.translation import _
from FetalIQALib.worklist import Worklist


class CaseController:
    """Controller of one case at a time.

    Args:
        session: the server session.
        worklist: the cases.
        journals: returns this computer's journals; None before the first connection.
        clock: monotonic time in seconds.

    Attributes:
        annotation: labels of the current case; None without a case.
        tag: of the label that is edited.
        position: current frame.
        conflict: version that another rater saved, after a submission was refused.
        download: progress of the image that is downloaded.
        on_saved: called with the case, its number of labelled frames, seconds of work and whether it is skipped,
            after a version was saved.
        before_action: called before every action, so that pending strokes of the scene are stored first.
    """

    def __init__(
        self,
        session: ServerSession,
        worklist: Worklist,
        journals: Callable[[], Journals | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = session
        self.worklist = worklist
        self.annotation: CaseAnnotation | None = None
        self.tag = session.tag
        self.position = 0
        self.conflict: ConflictingVersion | None = None
        self.before_action: Callable[[], None] = lambda: None
        self.autosave = Autosave(session, journals, clock)
        self._clock = clock
        self._sent: Sent | None = None
        session.changes["submit"] = ServerChange(_("the submission"), self._check_saved_version, "submitted")
        self._measurement_cache = MeasurementCache()
        self.download = Download()
        self.on_saved: Callable[[str, int, float, bool], None] = lambda case, frames, seconds, skipped: None

    # -- opening ------------------------------------------------------------------------------------

    def open(self, case: str) -> bool:
        """Open a case, also a submitted one. The work on the previous case stays saved."""
        self.before_action()
        if not self.save_journal(force=True):
            return False
        row = self.worklist.row(case)
        tag, suffix = self.session.tag, row.suffix if row is not None else ""
        suggested = self.worklist.suggested.get(case)
        self.session.runner.cancel("open")
        self.session.runner.cancel("assess")
        self.download = download = Download()

        def load(client: ServerClient, cancel: Cancel) -> LoadedCase:
            opened = open_case(client, case, suffix, tag, cancel, download.set)
            frames = suggested.frames if suggested is not None else ()
            return replace(opened, sweep=replace(opened.sweep, suggested=frames))

        def done(opened: LoadedCase) -> None:
            self._show_case_loaded(opened, tag)

        return self.session.request("open", load, done, _("Loading {case} …").format(case=case))

    def _show_case_loaded(self, opened: LoadedCase, tag: str) -> None:
        self.before_action()
        if not self.save_journal(force=True):
            return
        annotation = CaseAnnotation(opened.sweep, self.session.rater, self._clock)
        position = (opened.sweep.suggestions() or (0,))[0]
        try:
            own_work = self.autosave.start_case(annotation, tag, position)
        except FileError as error:
            self.autosave.mark_changed()
            self.session.show_error(error)
            return
        label = opened.label
        comment = "" if label is None else str(label.info.get("comment") or "")
        annotation.replace_all(opened.frames, 0 if label is None else label.version, True, comment)
        self.annotation, self.tag, self.conflict = annotation, tag, None
        self.autosave.mark_saved(annotation, position)
        self.position = position
        annotation.start_viewing(self.position)
        message = (
            _("{case} is open.")
            if not self.autosave.offered
            else _("{case} is open. Unsubmitted work found: resume?")
        )
        self.worklist.lease.release(opened.sweep.case)
        self.session.show_status(
            f"{message.format(case=opened.sweep.case)} {self.autosave.other_work_message()}".strip()
        )
        self.session.notify("case")
        self.assess()
        if own_work:  # unsubmitted work of this Slicer instance
            self.resume()

    def assess(self, search: bool = True) -> bool:
        """Request the assessment of the current case: first of its best frame, then of all frames."""
        annotation = self._open_annotation()
        case, stack = annotation.sweep.case, annotation.sweep.stack

        def fetch(client: ServerClient, cancel: Cancel) -> Assessment:
            return assess_case(client, case, stack, cancel, search)

        def done(assessment: Assessment) -> None:
            self.before_action()  # the update below would overwrite a pending stroke
            if self.annotation is not annotation:
                return  # another case has been opened
            first = annotation.sweep.assessment is None
            annotation.sweep = replace(annotation.sweep, assessment=assessment)
            message = assessment.message()
            self.session.notify("case")
            if first and self.position == 0 and not annotation.unsaved and assessment.best is not None:
                self.go_to((annotation.sweep.suggestions() or (assessment.best,))[0])
            if assessment.complete or not search:
                self.session.show_status(message)
            elif self.assess(search=False):
                self.session.show_status(_("{message} Assessing the other frames …").format(message=message), BUSY)

        return self.session.request("assess", fetch, done, _("Assessing {case} …").format(case=case))

    def close(self) -> bool:
        """Close the case; its work stays saved. Returns False, and the case stays open, if it cannot be saved."""
        self.before_action()
        if not self.save_journal(force=True):
            return False
        self.session.runner.cancel("open")
        self.session.runner.cancel("assess")
        self.annotation, self.conflict = None, None
        self.autosave.clear_offers()
        self.worklist.lease.release()
        self.session.notify("case")
        return True

    # -- autosave -----------------------------------------------------------------------------------

    def save_journal(self, force: bool = False) -> bool:
        """Write changes to the journal; returns False, with a status message, if that fails."""
        return self.autosave.save_journal(self.annotation, self.tag, self.position, force)

    def resume(self) -> bool:
        """Resume the newest unsubmitted work."""
        annotation = self._open_annotation()
        if not self.autosave.offered:
            message = _("You have no unsubmitted work on this case.")
            self.session.show_error(InvalidAction(f"{message} {self.autosave.other_work_message()}".strip()))
            return False
        self.before_action()
        if not self.save_journal(force=True):
            return False
        try:
            path, saved = self.autosave.read_offered(annotation, self.tag)
        except FileError as error:
            self.session.show_error(error)
            self.session.notify("saved_work")
            return False
        if annotation.unsaved:  # work begun before resuming is archived
            self.autosave.archive(annotation.sweep.case, self.tag)
        annotation.replace_all(saved.frames, saved.based_on, False, saved.comment)
        annotation.sent = list(saved.sent)
        annotation.seconds += saved.seconds
        self.position = saved.position
        annotation.start_viewing(self.position)
        if self.save_journal(force=True):
            self.autosave.archive_resumed(path)
        self.session.show_status(_("Resumed the work saved at {time}.").format(time=saved.saved))
        for topic in ("saved_work", "frames", "position"):
            self.session.notify(topic)
        return True

    def dismiss_saved_work(self) -> None:
        """Stop offering saved work; its files are archived, not deleted."""
        self.autosave.dismiss()
        self.session.notify("saved_work")

    # -- navigation and labelling -------------------------------------------------------------------

    def go_to(self, frame: int) -> None:
        """Show a frame; this does not label it."""
        annotation = self.annotation
        if annotation is None:
            return
        self.before_action()
        self.position = min(max(int(frame), 0), annotation.sweep.count - 1)
        annotation.start_viewing(self.position)
        self.save_journal()
        self.session.frame_shown(self.position)
        self.session.notify("position")

    def apply(self, name: str, action: Callable[[CaseAnnotation], str | None]) -> bool:
        """Apply one action to the case; on failure nothing changes and the status line says why."""
        try:
            annotation = self._open_annotation()
            self.before_action()
            message = action(annotation)
        except FetalIQAError as error:
            self.session.show_error(error, self.position)
            return False
        text = message or _("Frame {frame}: {action}.").format(frame=self.position, action=name)
        self.session.show_status(text, frame=self.position)
        self.save_journal()
        self.session.notify("frames")
        return True

    def draw_mask(self, frame: int, mask: np.ndarray, name: str, origin: Origin | None = None) -> bool:
        """Set the mask of a frame, [H, W], as one action; ``origin`` as in ``CaseAnnotation.correct``."""

        def correct(annotation: CaseAnnotation) -> None:
            annotation.correct(frame, mask, name, origin)

        return self.apply(name, correct)

    def _open_annotation(self) -> CaseAnnotation:
        if self.annotation is None:
            raise InvalidAction(_("Open a case first."))
        return self.annotation

    def measurement(self, frame: int) -> Measurement:
        """Ellipse and circumference of a frame's mask, or of its proposal while it is not labelled."""
        return self._measurement_cache.of(self._open_annotation(), frame)

    # -- submitting ---------------------------------------------------------------------------------

    def submit(self, tag: str = "", skipped: str = "", then: Callable[[], object] | None = None) -> bool:
        """Submit the labelled frames as the next version of the label.

        Args:
            tag: another label.
            skipped: why the case is skipped; frames need not be labelled then.
            then: called after the version was saved.
        """
        target = tag or self.tag
        try:
            annotation = self._open_annotation()
            self.before_action()
            nothing = not annotation.record()["frames"] and not annotation.comment and not skipped
            if nothing and not annotation.based_on:
                raise InvalidAction(_("No frame is labelled yet; there is nothing to submit."))
        except InvalidAction as error:
            self.session.show_error(error)
            return False
        submission = Submission.of(annotation, target, annotation.based_on if target == self.tag else 0, skipped)
        self.autosave.mark_changed()  # the journal also records the submission
        self.save_journal(force=True)

        sent = Sent(annotation, submission, self.tag, self.autosave.journals)

        def done(outcome: Outcome) -> None:
            self.before_action()  # see assess
            self._submitted(sent, outcome)
            if then is not None and not isinstance(outcome, ConflictingVersion) and self.annotation is annotation:
                then()

        if not self.session.runner.busy("submit"):
            self._sent = sent
        return self.session.request(
            "submit", submission.send, done, _("Submitting {case} …").format(case=submission.case)
        )

    def _check_saved_version(self) -> None:
        """Check whether the last submission, which was canceled, is on the server."""
        sent = self._sent
        if sent is None:
            return
        submission, annotation = sent.submission, sent.annotation

        def fetch(client: ServerClient, cancel: Cancel) -> LabelVersion | None:
            try:
                return client.label_info(submission.case, submission.tag, cancel)
            except NotFound:
                return None

        def done(saved: LabelVersion | None) -> None:
            token = "" if saved is None else str(saved.info.get("submission") or "")
            if saved is not None and [submission.token] == [token] == annotation.sent[-1:]:
                self.before_action()  # see assess
                self._submitted(sent, saved.version)
                return
            if sent is self._sent and annotation.unsaved:
                self.session.show_status(
                    _("The server has not saved {case} yet.").format(case=submission.case), PROBLEM
                )
            self.worklist.refresh(quiet=True)

        self.session.request("submitted", fetch, done, "")

    def _submitted(self, sent: Sent, outcome: Outcome) -> None:
        """Handle the response to a submission."""
        annotation, submission, journal_tag = sent.annotation, sent.submission, sent.journal_tag
        is_current = self.annotation is annotation
        if isinstance(outcome, ConflictingVersion):
            if is_current:
                self.conflict = outcome
            self.session.show_status(outcome.message, PROBLEM)
            self.session.notify("conflict")
            return
        if submission.tag == journal_tag:
            annotation.based_on = outcome
        annotation.saved_revision = max(annotation.saved_revision, submission.revision)
        if annotation.unsaved and is_current:
            self.autosave.mark_changed()  # the journal still names the previous version
            self.save_journal(force=True)
        elif not annotation.unsaved and (is_current or not self._is_current(submission.case, journal_tag)):
            self.autosave.remove_submitted(submission.case, journal_tag, sent.journals)
            if self.worklist.lease.case == submission.case:
                self.worklist.lease.release()
        labelled = sum(entry["state"] != PROPOSED for entry in submission.record["frames"].values())
        self.on_saved(submission.case, labelled, submission.seconds, bool(submission.skipped))
        template = _("{case}: saved version {version} of label {tag}.")
        if submission.skipped:
            template = _("{case}: skipped, saved as version {version} of label {tag}.")
        self.session.show_status(template.format(case=submission.case, version=outcome, tag=submission.tag))
        self.session.notify("frames")
        self.worklist.refresh(quiet=True)

    def _is_current(self, case: str, tag: str) -> bool:
        return self.annotation is not None and (self.annotation.sweep.case, self.tag) == (case, tag)

    def resolve(self, choice: str, tag: str = "") -> bool:
        """Resolve a version conflict.

        Args:
            choice: ``mine`` (becomes the next version; theirs stays in the history), ``theirs`` (is loaded;
                mine is archived on this computer) or ``both`` (mine is saved under another label).
            tag: that other label.
        """
        annotation, conflict = self.annotation, self.conflict
        if annotation is None or conflict is None:
            return False
        self.before_action()
        if choice == "theirs":
            return self._use_theirs(annotation, conflict)
        if choice == "both" and (not tag or tag == self.tag):
            self.session.show_error(InvalidAction(_("Enter another label name to keep both.")))
            return False
        self.conflict = None
        if choice == "mine":
            annotation.based_on = conflict.version
        self.session.notify("conflict")
        return self.submit(tag if choice == "both" else "")

    def _use_theirs(self, annotation: CaseAnnotation, conflict: ConflictingVersion) -> bool:
        if not self.save_journal(force=True):
            return False
        self.autosave.archive(annotation.sweep.case, self.tag)
        annotation.replace_all(conflict.frames, conflict.version, True, conflict.comment)
        self.conflict = None
        self.autosave.mark_changed()
        self.session.show_status(
            _("Loaded version {version}; yours is archived.").format(version=conflict.version)
        )
        for topic in ("conflict", "frames"):
            self.session.notify(topic)
        return True
