"""Comparing two raters' labels of the case on the desk, and a reviewer's word on a version."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from FetalIQALib.casework import CaseWork
from FetalIQALib.client import Client
from FetalIQALib.decisions import Frame
from FetalIQALib.desk import Desk
from FetalIQALib.failures import Failure, NotPossible, NotThere
from FetalIQALib.http import Cancel
from FetalIQALib.hub import Change, Hub
from FetalIQALib.masks import Mask, dice
from FetalIQALib.opening import load_label
from FetalIQALib.outline import measure
from FetalIQALib.replies import Saved
from FetalIQALib.sweep import Sweep
from FetalIQALib.texts import _
from FetalIQALib.worklist import Worklist


@dataclass(frozen=True)
class Agreement:
    """Two raters on the frames that both decided.

    Attributes:
        both: how many frames.
        same: how many they agree on whether there is an abdomen.
        dice: mean overlap on frames where both drew; None where there is none.
        ac_difference_mm: mean absolute difference of the circumference there; None where none could be measured.
        worst: frames to look at, the worst overlap first.
    """

    both: int
    same: int
    dice: float | None
    ac_difference_mm: float | None
    worst: tuple[int, ...]

    def sentence(self, other: str) -> str:
        """The agreement in words."""
        if not self.both:
            return _("No frame was decided both here and by {other}.").format(other=other)
        told = [
            _("{same} of {both} frames decided alike").format(same=self.same, both=self.both),
        ]
        if self.dice is not None:
            told.append(_("Dice {dice:.2f}").format(dice=self.dice))
        if self.ac_difference_mm is not None:
            told.append(_("AC apart by {difference:.1f} mm").format(difference=self.ac_difference_mm))
        return ", ".join(told) + "."


def agreement(first: Mapping[int, Frame], second: Mapping[int, Frame], sweep: Sweep) -> Agreement:
    """How two raters' decisions on a case agree."""
    both = sorted(frame for frame in first if frame in second and first[frame].decided and second[frame].decided)
    same = [frame for frame in both if first[frame].state == second[frame].state]
    drawn = [frame for frame in same if first[frame].mask is not None]
    overlaps = {frame: dice(first[frame].mask, second[frame].mask) or 0.0 for frame in drawn}
    differences = []
    for frame in drawn:
        lengths = [
            measure(mask.full(), sweep.spacing_mm, sweep.free).circumference_mm
            for mask in (first[frame].mask, second[frame].mask)
            if mask is not None
        ]
        if len(lengths) == 2 and None not in lengths:
            differences.append(abs(float(lengths[0] or 0) - float(lengths[1] or 0)))
    apart = [frame for frame in both if frame not in same]
    return Agreement(
        both=len(both),
        same=len(same),
        dice=float(np.mean(list(overlaps.values()))) if overlaps else None,
        ac_difference_mm=float(np.mean(differences)) if differences else None,
        worst=(*apart, *sorted(overlaps, key=lambda frame: overlaps[frame])),
    )


class Reviewing:
    """Another rater's label of the case on the desk.

    Args:
        hub: the connection.
        desk: the case.
        worklist: read again after a review.

    Attributes:
        tag: of the other label; empty while none is shown.
        version: of it.
        agreement: with what is on the desk.
    """

    def __init__(self, hub: Hub, desk: Desk, worklist: Worklist) -> None:
        self.hub = hub
        self.desk = desk
        self.worklist = worklist
        self.tag = ""
        self.version = 0
        self.agreement: Agreement | None = None
        self._frames: Mapping[int, Frame] = {}
        self._work: CaseWork | None = None
        hub.changes["review word"] = Change(_("the review"), lambda: worklist.refresh(quiet=True), "worklist")

    @property
    def frames(self) -> Mapping[int, Frame]:
        """The other label's decisions; empty once another case is on the desk."""
        return self._frames if self._work is self.desk.work else {}

    def mask(self, frame: int) -> Mask | None:
        """The other rater's mask of a frame."""
        return self.frames[frame].mask if frame in self.frames else None

    def tags(self) -> list[str]:
        """Labels of the case on the desk, other than the one that is worked on."""
        work = self.desk.work
        row = None if work is None else self.worklist.row(work.sweep.case)
        return [] if row is None else [tag for tag in row.tags if tag != self.desk.tag]

    def compare(self, tag: str) -> bool:
        """Load another rater's label and compare it with what is on the desk."""
        work = self.desk.work
        if work is None:
            self.hub.fail(NotPossible(_("Open a case first.")))
            return False
        case, stack = work.sweep.case, work.sweep.stack

        def load(client: Client, cancel: Cancel) -> tuple[Saved, dict[int, Frame]]:
            with tempfile.TemporaryDirectory(prefix="fetaliqa-") as folder:
                label, frames = load_label(client, case, tag, stack, Path(folder), cancel)
            if label is None:
                raise NotThere(404, _("{case} has no label {tag}.").format(case=case, tag=tag))
            return label, frames

        def done(found: tuple[Saved, dict[int, Frame]]) -> None:
            if self.desk.work is not work:
                return
            label, self._frames = found
            self._work = work
            self.tag, self.version = tag, label.version
            self.desk.before_action()
            self.agreement = agreement(work.frames, self._frames, work.sweep)
            self.hub.say(self.agreement.sentence(tag))
            self.hub.tell("review")

        return self.hub.ask("review", load, done, _("Loading the label {tag} …").format(tag=tag))

    def leave(self) -> None:
        """Show no other rater any more."""
        self.tag, self.version, self._frames, self.agreement = "", 0, {}, None
        self.hub.tell("review")

    def accept(self) -> bool:
        """Accept the version that is compared with, else the one that is on the desk."""
        return self._review("accepted", "")

    def send_back(self, comment: str) -> bool:
        """Send it back with a comment that says what to change."""
        if not comment.strip():
            self.hub.fail(NotPossible(_("Say in the comment what to change.")))
            return False
        return self._review("returned", comment.strip())

    def pick(self) -> bool:
        """Make the version that is compared with the next of the final label."""
        work = self.desk.work
        if work is None or not self.tag or self._work is not work:
            self.hub.fail(NotPossible(_("Choose another rater's label first.")))
            return False
        case, tag, version = work.sweep.case, self.tag, self.version

        def done(number: int) -> None:
            self.hub.say(
                _("Version {version} of {tag} is now version {number} of the final label.").format(
                    version=version, tag=tag, number=number
                )
            )
            self.worklist.refresh(quiet=True)

        return self.hub.ask(
            "review word", lambda client, cancel: client.pick(case, tag, version, cancel), done, _("Picking …")
        )

    def _review(self, state: str, comment: str) -> bool:
        work = self.desk.work
        compared = bool(self.tag) and self._work is work
        tag, version = (self.tag, self.version) if compared else (self.desk.tag, work.based_on if work else 0)
        if work is None or not version:
            self.hub.fail(NotPossible(_("There is no submitted version to review.")))
            return False
        case = work.sweep.case

        def done(_answer: None) -> None:
            words = {"accepted": _("accepted"), "returned": _("sent back")}
            self.hub.say(
                _("{case}, {tag}: version {version} is {word}.").format(
                    case=case, tag=tag, version=version, word=words[state]
                )
            )
            self.worklist.refresh(quiet=True)

        def failed(failure: Failure) -> None:
            self.hub.fail(failure)

        return self.hub.ask(
            "review word",
            lambda client, cancel: client.review(case, tag, version, state, comment, cancel),
            done,
            _("Sending the review …"),
            failed,
        )
