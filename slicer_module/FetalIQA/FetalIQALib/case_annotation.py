"""Labels of one case: every change is one action that can be undone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Callable

import numpy as np

from FetalIQALib import interpolation
from FetalIQALib.client_errors import InvalidAction
from FetalIQALib.frame_annotations import (
    ANNOTATED,
    EMPTY,
    INTERACTIVE,
    MAX_COMMENT,
    OPTIMAL,
    SUBOPTIMAL,
    FrameAnnotation,
    Origin,
    Proposal,
    frame_record,
)
from FetalIQALib.frame_masks import Mask
from FetalIQALib.sweep_data import Sweep
from FetalIQALib.translation import _

MAX_UNDO = 500  # actions; about an hour of work
MAX_SECONDS = 300.0  # limit of the time counted for one frame; longer is a break
MAX_PAUSE = 60.0  # seconds between two actions that count as work on the case; longer is a break


@dataclass(frozen=True)
class UndoStep:
    """One action: the changed frames before and after it.

    Attributes:
        name: of the action.
        before, after: labels by frame number.
        shown: frame to show after undo and redo; None: the first changed one.
    """

    name: str
    before: Mapping[int, FrameAnnotation]
    after: Mapping[int, FrameAnnotation]
    shown: int | None = None

    @property
    def frame(self) -> int:
        """The frame that is shown after undo and redo."""
        return min(self.after) if self.shown is None else self.shown


class CaseAnnotation:
    """The labels of one case.

    Args:
        sweep: the case.
        rater: name of the rater.
        clock: monotonic time in seconds.
    """

    def __init__(self, sweep: Sweep, rater: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.sweep = sweep
        self.rater = rater
        self.based_on = 0  # version on the server that these labels are based on
        self.revision = 0  # number of changes
        self.saved_revision = 0  # last revision that is saved on the server
        self.sent: list[str] = []  # tokens of submissions
        self.comment = ""  # on the case
        self.seconds = 0.0  # of work on the case
        self._frames: dict[int, FrameAnnotation] = {}
        self._undo: list[UndoStep] = []
        self._redo: list[UndoStep] = []
        self._clock = clock
        self._shown = (-1, 0.0)
        self._active = clock()

    # -- state --------------------------------------------------------------------------------------

    @property
    def frames(self) -> Mapping[int, FrameAnnotation]:
        """Labels by frame number; missing frames are untouched."""
        return self._frames

    def frame(self, number: int) -> FrameAnnotation:
        """Label of a frame."""
        return self._frames.get(number, FrameAnnotation())

    def proposal(self, number: int) -> Proposal | None:
        """The mask proposed for a frame: a pending one (such as interpolated), else the model's."""
        return self.frame(number).pending or self.sweep.proposal(number)

    def record(self) -> dict[str, object]:
        """The frame record of the labelled frames."""
        return frame_record(self._frames)

    def masks(self) -> dict[int, Mask]:
        """The masks of annotated frames, for submission."""
        return {number: frame.mask for number, frame in self._frames.items() if frame.mask is not None}

    @property
    def unsaved(self) -> bool:
        """Whether there are changes that are not on the server."""
        return self.revision != self.saved_revision

    def start_viewing(self, number: int) -> None:
        """Start measuring the time spent on a frame."""
        self._shown = (number, self._clock())
        self._count_time()

    # -- actions ------------------------------------------------------------------------------------

    def accept(self, number: int) -> str | None:
        """Accept the proposed mask; returns a message if this rater has accepted it before.

        Raises:
            InvalidAction: if no mask is proposed.
        """
        proposal = self.proposal(number)
        if proposal is None:
            message = _("No mask is proposed for this frame: draw one, or press E for no {anatomy}.")
            raise InvalidAction(message.format(anatomy=self.sweep.anatomy))
        frame = self.frame(number)
        if frame.mask == proposal.mask and frame.rater == self.rater:
            return _("Frame {frame} is already accepted.").format(frame=number)
        self._do(_("accept"), {number: self._accepted(number, proposal)})
        return None

    def correct(self, number: int, drawn: np.ndarray, name: str = "", origin: Origin | None = None) -> bool:
        """Set the mask of a frame, [H, W]; returns False if it is unchanged.

        Args:
            number: of the frame.
            drawn: the mask.
            name: of the action.
            origin: of the mask; None for a stroke, which leaves the origin of the mask that it changes.
        """
        mask = Mask.of(drawn)
        frame = self.frame(number)
        if mask == frame.mask:
            return False
        if mask is None:  # everything erased: unlabelled, not confirmed as empty
            self._do(name or _("erase"), {number: FrameAnnotation(pending=frame.pending, comment=frame.comment)})
        else:
            label = self._new_label(number, ANNOTATED, mask)
            if origin is None and frame.origin.kind:
                label = replace(label, **_mask_source(frame))
            self._do(name or _("draw"), {number: label})
        return True

    def click(self, number: int, mask: Mask, model: str, version: str = "") -> UndoStep:
        """Set the mask of a frame to an interactive model's answer to a click or box; returns the action."""
        before, proposal = self.frame(number), self.proposal(number)
        earlier = before.origin if before.mask is not None else proposal.origin if proposal else Origin()
        label = replace(
            self._new_label(number, ANNOTATED, mask),
            model=model,
            version=version,
            origin=Origin(INTERACTIVE, earlier.clicks + 1, earlier.source),
        )
        return self._do(_("click"), {number: label})

    def mark_empty(self, number: int) -> None:
        """Label a frame as empty: what is outlined is not in it.

        Raises:
            InvalidAction: if the frame is padding.
        """
        if self.sweep.padding[number]:
            raise InvalidAction(_("Frame {frame} is black padding and needs no label.").format(frame=number))
        if self.frame(number).state == EMPTY:
            return
        self._do(_("empty frame"), {number: self._new_label(number, EMPTY, None)})

    def clear(self, number: int) -> None:
        """Remove the label of a frame.

        Raises:
            InvalidAction: if it has none.
        """
        frame = self.frame(number)
        if not frame.labelled and frame.pending is None:
            raise InvalidAction(_("This frame has no label to clear."))
        self._do(_("clear"), {number: FrameAnnotation(comment=frame.comment)})

    def comment_frame(self, number: int, comment: str) -> bool:
        """Set the comment on a frame, empty for none; returns False if it is unchanged."""
        frame, text = self.frame(number), _one_line(comment)
        if text == frame.comment:
            return False
        self._do(_("comment"), {number: replace(frame, comment=text)})
        return True

    def comment_case(self, comment: str) -> bool:
        """Set the comment on the case, empty for none; returns False if it is unchanged."""
        text = _one_line(comment)
        if text == self.comment:
            return False
        self.comment = text
        self.revision += 1
        return True

    def grade(self, number: int, plane: str) -> None:
        """Grade the plane of an annotated frame as ``optimal`` or ``suboptimal``; the same grade again removes it.

        Raises:
            InvalidAction: if the frame has no mask.
        """
        frame = self.frame(number)
        if plane not in (OPTIMAL, SUBOPTIMAL):
            raise ValueError(plane)
        if frame.state != ANNOTATED:
            raise InvalidAction(
                _("Only a frame with a mask can be graded: accept the proposal (D) or draw a mask first.")
            )
        graded = None if frame.plane == plane else plane
        label = replace(self._new_label(number, ANNOTATED, frame.mask), plane=graded)
        self._do(_("grade"), {number: replace(label, **_mask_source(frame))})

    def copy(self, source: int, target: int) -> None:
        """Copy the mask of one frame to another that is not labelled.

        Raises:
            InvalidAction: if there is no mask, or the target is labelled or in another sweep.
        """
        mask = self.frame(source).mask
        if mask is None:
            raise InvalidAction(_("This frame has no mask to copy: accept or draw one first."))
        if not 0 <= target < self.sweep.count or self.sweep.padding[target]:
            raise InvalidAction(_("There is no frame in that direction."))
        if self.sweep.sweep_of(source) != self.sweep.sweep_of(target):
            raise InvalidAction(_("The next frame belongs to another sweep."))
        if self.frame(target).labelled:
            raise InvalidAction(_("Frame {frame} is already labelled; clear it (Del) first.").format(frame=target))
        self._do(_("copy"), {target: self._new_label(target, ANNOTATED, mask)})

    def interpolate(self, number: int) -> str:
        """Propose masks between the annotated frames before and after this one; returns a message.

        Raises:
            InvalidAction: if there are not two such frames, or they are too far apart.
        """
        limits = self.sweep.ranges[self.sweep.sweep_of(number)]
        first, last = interpolation.annotated_neighbours(self._frames, number, limits)
        result = interpolation.interpolate(self.sweep, self._frames, first, last)
        self._do(
            _("interpolate"),
            {frame: replace(self.frame(frame), pending=proposal) for frame, proposal in result.masks.items()},
        )
        message = _("{count} masks proposed between frames {first} and {last}; accept each with D.").format(
            count=len(result.masks), first=first, last=last
        )
        return f"{message} {result.stopped}".strip()

    def propose(self, name: str, proposals: Mapping[int, Proposal | None], shown: int) -> None:
        """Propose masks for frames, None to withdraw a proposal; labels are not changed.

        Raises:
            InvalidAction: if there is none.
        """
        if not proposals:
            raise InvalidAction(_("No mask is proposed."))
        after = {number: replace(self.frame(number), pending=pending) for number, pending in proposals.items()}
        self._do(name, after, shown)

    def confirm(self, frames: Sequence[int], shown: int) -> None:
        """Accept the pending proposals of several frames that are not labelled, as one action."""
        pending = {number: self.frame(number).pending for number in frames if not self.frame(number).labelled}
        after = {number: self._accepted(number, mask) for number, mask in pending.items() if mask is not None}
        if after:
            self._do(_("confirm"), after, shown)

    # -- undo ---------------------------------------------------------------------------------------

    @property
    def steps(self) -> Sequence[UndoStep]:
        """The actions that can be undone, the last one last."""
        return self._undo

    def undo(self) -> UndoStep:
        """Undo the last action.

        Raises:
            InvalidAction: if there is none.
        """
        if not self._undo:
            raise InvalidAction(_("There is nothing to undo."))
        action = self._undo.pop()
        self._put(action.before)
        self._redo.append(action)
        return action

    def redo(self) -> UndoStep:
        """Redo the action that was undone last.

        Raises:
            InvalidAction: if there is none.
        """
        if not self._redo:
            raise InvalidAction(_("There is nothing to redo."))
        action = self._redo.pop()
        self._put(action.after)
        self._undo.append(action)
        return action

    def replace_all(
        self, frames: Mapping[int, FrameAnnotation], based_on: int, saved: bool, comment: str = ""
    ) -> None:
        """Replace all labels by those of the server (``saved``) or of a journal; clears the undo history."""
        self.comment = comment
        self._frames = {number: frame for number, frame in frames.items() if frame != FrameAnnotation()}
        self.based_on = based_on
        self._undo.clear()
        self._redo.clear()
        self.revision += 1
        if saved:
            self.saved_revision = self.revision

    # -- helpers ------------------------------------------------------------------------------------

    def _accepted(self, number: int, proposal: Proposal) -> FrameAnnotation:
        label = self._new_label(number, ANNOTATED, proposal.mask)
        return replace(label, model=proposal.model, version=proposal.version, origin=proposal.origin)

    def _new_label(self, number: int, state: str, mask: Mask | None) -> FrameAnnotation:
        before = self.frame(number)
        proposal = self.proposal(number)
        return FrameAnnotation(
            state=state,
            mask=mask,
            plane=before.plane if state == ANNOTATED else None,
            rater=self.rater,
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            model=proposal.model if proposal else "",
            version=proposal.version if proposal else "",
            seconds=self._spent(number, before),
            pending=before.pending,
            comment=before.comment,
        )

    def _count_time(self) -> None:
        now = self._clock()
        self.seconds += min(now - self._active, MAX_PAUSE)
        self._active = now

    def _spent(self, number: int, before: FrameAnnotation) -> float | None:
        shown, since = self._shown
        if shown != number:
            return before.seconds
        now = self._clock()
        self._shown = (number, now)
        return min((before.seconds or 0.0) + now - since, MAX_SECONDS)

    def _do(self, name: str, after: Mapping[int, FrameAnnotation], shown: int | None = None) -> UndoStep:
        action = UndoStep(name, {number: self.frame(number) for number in after}, dict(after), shown)
        self._put(action.after)
        self._count_time()
        self._undo.append(action)
        del self._undo[:-MAX_UNDO]
        self._redo.clear()
        return action

    def _put(self, frames: Mapping[int, FrameAnnotation]) -> None:
        for number, frame in frames.items():
            if frame == FrameAnnotation():
                self._frames.pop(number, None)
            else:
                self._frames[number] = frame
        self.revision += 1


def _one_line(comment: str) -> str:
    return " ".join(comment.split())[:MAX_COMMENT]


def _mask_source(frame: FrameAnnotation) -> dict[str, Any]:
    """Origin and model of a frame's mask, which a grade or stroke does not change."""
    return {"model": frame.model, "version": frame.version, "origin": frame.origin}
