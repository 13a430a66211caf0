"""Comparison of two raters' labels of the current case, and review of a version."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.case_controller import CaseController
from FetalIQALib.case_loading import load_label
from FetalIQALib.client_errors import FetalIQAError, InvalidAction, NotFound
from FetalIQALib.frame_annotations import FrameAnnotation
from FetalIQALib.frame_masks import Mask, dice
from FetalIQALib.http_client import Cancel
from FetalIQALib.measurement_cache import measured
from FetalIQALib.server_client import ServerClient
from FetalIQALib.server_responses import LabelVersion
from FetalIQALib.server_session import ServerChange, ServerSession
from FetalIQALib.sweep_data import Sweep
from FetalIQALib.translation import _
from FetalIQALib.worklist import Worklist


@dataclass(frozen=True)
class Agreement:
    """Agreement of two raters on the frames that both labelled.

    Attributes:
        both: number of frames.
        same: number of frames with the same state (outlined or empty).
        dice: mean Dice coefficient of frames that both outlined; None without such frames.
        difference_mm: mean absolute difference of what is measured; None if not measurable.
        measurement: what is measured: AC, HC or FL.
        worst: frames by agreement, lowest first.
    """

    both: int
    same: int
    dice: float | None
    difference_mm: float | None
    worst: tuple[int, ...]
    measurement: str = "AC"

    def message(self, other: str) -> str:
        """Summary for the panel."""
        if not self.both:
            return _("No frame is labelled both here and by {other}.").format(other=other)
        parts = [
            _("{same} of {both} frames with the same state").format(same=self.same, both=self.both),
        ]
        if self.dice is not None:
            parts.append(_("Dice {dice:.2f}").format(dice=self.dice))
        if self.difference_mm is not None:
            text = _("mean {name} difference {difference:.1f} mm")
            parts.append(text.format(name=self.measurement, difference=self.difference_mm))
        return ", ".join(parts) + "."


def agreement(
    first: Mapping[int, FrameAnnotation], second: Mapping[int, FrameAnnotation], sweep: Sweep
) -> Agreement:
    """Agreement of two raters' labels of a case."""
    both = sorted(frame for frame in first if frame in second and first[frame].labelled and second[frame].labelled)
    same = [frame for frame in both if first[frame].state == second[frame].state]
    outlined = [frame for frame in same if first[frame].mask is not None]
    overlaps = {frame: dice(first[frame].mask, second[frame].mask) or 0.0 for frame in outlined}
    differences = []
    for frame in outlined:
        lengths = [
            measured(mask.full(), sweep).circumference_mm
            for mask in (first[frame].mask, second[frame].mask)
            if mask is not None
        ]
        if len(lengths) == 2 and None not in lengths:
            differences.append(abs(float(lengths[0] or 0) - float(lengths[1] or 0)))
    different = [frame for frame in both if frame not in same]
    return Agreement(
        both=len(both),
        same=len(same),
        dice=float(np.mean(list(overlaps.values()))) if overlaps else None,
        difference_mm=float(np.mean(differences)) if differences else None,
        worst=(*different, *sorted(overlaps, key=lambda frame: overlaps[frame])),
        measurement=sweep.measurement,
    )


class LabelReview:
    """Comparison with another rater's label of the current case.

    Args:
        session: the server session.
        controller: of the current case.
        worklist: refreshed after a review.

    Attributes:
        tag: of the other label; empty while none is compared.
        version: of the other label.
        agreement: with the current labels.
    """

    def __init__(self, session: ServerSession, controller: CaseController, worklist: Worklist) -> None:
        self.session = session
        self.controller = controller
        self.worklist = worklist
        self.tag = ""
        self.version = 0
        self.agreement: Agreement | None = None
        self._frames: Mapping[int, FrameAnnotation] = {}
        self._work: CaseAnnotation | None = None
        session.changes["review decision"] = ServerChange(
            _("the review"), lambda: worklist.refresh(quiet=True), "worklist"
        )

    @property
    def frames(self) -> Mapping[int, FrameAnnotation]:
        """Frames of the other label; empty after the current case has changed."""
        return self._frames if self._work is self.controller.annotation else {}

    def mask(self, frame: int) -> Mask | None:
        """The other rater's mask of a frame."""
        return self.frames[frame].mask if frame in self.frames else None

    def tags(self) -> list[str]:
        """Tags of the current case's labels other than the current one."""
        annotation = self.controller.annotation
        row = None if annotation is None else self.worklist.row(annotation.sweep.case)
        return [] if row is None else [tag for tag in row.tags if tag != self.controller.tag]

    def compare(self, tag: str) -> bool:
        """Load another rater's label and compare it with the current labels."""
        annotation = self.controller.annotation
        if annotation is None:
            self.session.show_error(InvalidAction(_("Open a case first.")))
            return False
        case, stack = annotation.sweep.case, annotation.sweep.stack

        def load(client: ServerClient, cancel: Cancel) -> tuple[LabelVersion, dict[int, FrameAnnotation]]:
            with tempfile.TemporaryDirectory(prefix="fetaliqa-") as folder:
                label, frames = load_label(client, case, tag, stack, Path(folder), cancel)
            if label is None:
                raise NotFound(404, _("{case} has no label {tag}.").format(case=case, tag=tag))
            return label, frames

        def done(result: tuple[LabelVersion, dict[int, FrameAnnotation]]) -> None:
            if self.controller.annotation is not annotation:
                return
            label, self._frames = result
            self._work = annotation
            self.tag, self.version = tag, label.version
            self.controller.before_action()
            self.agreement = agreement(annotation.frames, self._frames, annotation.sweep)
            self.session.show_status(self.agreement.message(tag))
            self.session.notify("review")

        return self.session.request("review", load, done, _("Loading the label {tag} …").format(tag=tag))

    def hide(self) -> None:
        """End the comparison."""
        self.tag, self.version, self._frames, self.agreement = "", 0, {}, None
        self.session.notify("review")

    def accept(self) -> bool:
        """Accept the compared version, or else the current one."""
        return self._review("accepted", "")

    def request_changes(self, comment: str) -> bool:
        """Request changes, with a comment."""
        if not comment.strip():
            self.session.show_error(InvalidAction(_("Enter a comment that says what to change.")))
            return False
        return self._review("returned", comment.strip())

    def make_final(self) -> bool:
        """Make the compared version the next version of the final label."""
        annotation = self.controller.annotation
        if annotation is None or not self.tag or self._work is not annotation:
            self.session.show_error(InvalidAction(_("Choose another rater's label first.")))
            return False
        case, tag, version = annotation.sweep.case, self.tag, self.version

        def done(number: int) -> None:
            self.session.show_status(
                _("Version {version} of {tag} is now version {number} of the final label.").format(
                    version=version, tag=tag, number=number
                )
            )
            self.worklist.refresh(quiet=True)

        return self.session.request(
            "review decision",
            lambda client, cancel: client.pick(case, tag, version, cancel),
            done,
            _("Saving the final label …"),
        )

    def _review(self, state: str, comment: str) -> bool:
        annotation = self.controller.annotation
        compared = bool(self.tag) and self._work is annotation
        tag, version = (
            (self.tag, self.version)
            if compared
            else (self.controller.tag, annotation.based_on if annotation else 0)
        )
        if annotation is None or not version:
            self.session.show_error(InvalidAction(_("There is no submitted version to review.")))
            return False
        case = annotation.sweep.case

        def done(_answer: None) -> None:
            states = {"accepted": _("accepted"), "returned": _("changes requested")}
            self.session.show_status(
                _("{case}, {tag}, version {version}: {state}.").format(
                    case=case, tag=tag, version=version, state=states[state]
                )
            )
            self.worklist.refresh(quiet=True)

        def failed(failure: FetalIQAError) -> None:
            self.session.show_error(failure)

        return self.session.request(
            "review decision",
            lambda client, cancel: client.review(case, tag, version, state, comment, cancel),
            done,
            _("Sending the review …"),
            failed,
        )
