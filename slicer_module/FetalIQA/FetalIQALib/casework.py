"""An annotator's work on one case: decisions per frame, each one action that can be undone exactly."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Callable

import numpy as np

from FetalIQALib import between
from FetalIQALib.decisions import (
    ANNOTATED,
    EMPTY,
    OPTIMAL,
    SUBOPTIMAL,
    Frame,
    Proposal,
    record_of,
)
from FetalIQALib.failures import NotPossible
from FetalIQALib.masks import Mask
from FetalIQALib.sweep import Sweep
from FetalIQALib.texts import _

MAX_UNDO = 500  # actions; an hour's work is about as many
MAX_SECONDS = 300.0  # counted for one frame; longer is a coffee


@dataclass(frozen=True)
class Action:
    """One action: what it changed, before and after, by frame."""

    name: str
    before: Mapping[int, Frame]
    after: Mapping[int, Frame]

    @property
    def frame(self) -> int:
        """The first frame it changed: where to look after it was undone."""
        return min(self.after)


class CaseWork:
    """The decisions on one case.

    Args:
        sweep: the case.
        rater: who works.
        clock: seconds, monotonic; tests bring their own.
    """

    def __init__(self, sweep: Sweep, rater: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.sweep = sweep
        self.rater = rater
        self.based_on = 0  # version on the server that these decisions go on from
        self.revision = 0  # counts changes
        self.saved_revision = 0  # the revision that the server has
        self.sent: list[str] = []  # tokens of what was sent to the server
        self._frames: dict[int, Frame] = {}
        self._undo: list[Action] = []
        self._redo: list[Action] = []
        self._clock = clock
        self._shown = (-1, 0.0)

    # -- looking ------------------------------------------------------------------------------------

    @property
    def frames(self) -> Mapping[int, Frame]:
        """What is known of each frame; those not in it are untouched."""
        return self._frames

    def frame(self, number: int) -> Frame:
        """What is known of a frame."""
        return self._frames.get(number, Frame())

    def proposal(self, number: int) -> Proposal | None:
        """The mask proposed for a frame: interpolated between two of a person, else the model's."""
        return self.frame(number).between or self.sweep.proposal(number)

    def record(self) -> dict[str, object]:
        """The frame record of what was decided."""
        return record_of(self._frames)

    def masks(self) -> dict[int, Mask]:
        """The masks of annotated frames, which are what is submitted."""
        return {number: frame.mask for number, frame in self._frames.items() if frame.mask is not None}

    @property
    def unsaved(self) -> bool:
        """Whether there is anything that the server does not have."""
        return self.revision != self.saved_revision

    def look_at(self, number: int) -> None:
        """A frame is being looked at from now on; nothing is decided by that."""
        self._shown = (number, self._clock())

    # -- deciding -----------------------------------------------------------------------------------

    def accept(self, number: int) -> str | None:
        """The proposed mask is right; says so when this rater accepted it before, which is no action then.

        Raises:
            NotPossible: when none is proposed.
        """
        proposal = self.proposal(number)
        if proposal is None:
            raise NotPossible(_("Nothing is proposed for this frame: draw a mask, or press E for no abdomen."))
        frame = self.frame(number)
        if frame.mask == proposal.mask and frame.rater == self.rater:
            return _("Frame {frame} is accepted already.").format(frame=number)
        self._do(_("accept"), {number: self._decided(number, ANNOTATED, proposal.mask)})
        return None

    def correct(self, number: int, drawn: np.ndarray, name: str = "") -> bool:
        """The mask of a frame is this one, [H, W]; False when it is the one that is there, so nothing changed."""
        mask = Mask.of(drawn)
        frame = self.frame(number)
        if mask == frame.mask:
            return False
        if mask is None:  # all erased: that is not yet to say that there is no abdomen
            self._do(name or _("erase"), {number: Frame(between=frame.between)})
        else:
            self._do(name or _("draw"), {number: self._decided(number, ANNOTATED, mask)})
        return True

    def mark_empty(self, number: int) -> None:
        """No abdomen in this frame."""
        if self.sweep.padding[number]:
            raise NotPossible(_("This slot is black padding at the end of a sweep; it needs no decision."))
        if self.frame(number).state == EMPTY:
            return
        self._do(_("no abdomen"), {number: self._decided(number, EMPTY, None)})

    def clear(self, number: int) -> None:
        """Take the decision on a frame back: nobody decided."""
        frame = self.frame(number)
        if not frame.decided and frame.between is None:
            raise NotPossible(_("There is no decision on this frame to take back."))
        self._do(_("clear"), {number: Frame()})

    def grade(self, number: int, plane: str) -> None:
        """The plane of an annotated frame is ``optimal`` or ``suboptimal``; the same grade again takes it off.

        Raises:
            NotPossible: when the frame is not annotated.
        """
        frame = self.frame(number)
        if plane not in (OPTIMAL, SUBOPTIMAL):
            raise ValueError(plane)
        if frame.state != ANNOTATED:
            raise NotPossible(_("Only a frame with a mask has a plane: accept the proposal (D) or draw first."))
        graded = None if frame.plane == plane else plane
        self._do(_("grade"), {number: replace(self._decided(number, ANNOTATED, frame.mask), plane=graded)})

    def copy(self, source: int, target: int) -> None:
        """The mask of one frame is also that of another, which is not decided yet.

        Raises:
            NotPossible: when there is no mask, or the other frame is decided, or of another sweep.
        """
        mask = self.frame(source).mask
        if mask is None:
            raise NotPossible(_("This frame has no mask of yours to copy: accept or draw one first."))
        if not 0 <= target < self.sweep.count or self.sweep.padding[target]:
            raise NotPossible(_("There is no frame on that side."))
        if self.sweep.sweep_of(source) != self.sweep.sweep_of(target):
            raise NotPossible(_("The next frame belongs to another sweep."))
        if self.frame(target).decided:
            raise NotPossible(
                _("Frame {frame} is decided already; clear it there (Del) to copy.").format(frame=target)
            )
        self._do(_("copy"), {target: self._decided(target, ANNOTATED, mask)})

    def interpolate(self, number: int) -> str:
        """Propose masks between the annotated frames around this one; says where it stopped.

        Raises:
            NotPossible: when there are no two, or they are too far apart.
        """
        limits = self.sweep.ranges[self.sweep.sweep_of(number)]
        first, last = between.corrected_neighbours(self._frames, number, limits)
        found = between.interpolate(self.sweep, self._frames, first, last)
        self._do(
            _("interpolate"),
            {frame: replace(self.frame(frame), between=proposal) for frame, proposal in found.masks.items()},
        )
        told = _("{count} masks proposed between {first} and {last}; accept each with D.").format(
            count=len(found.masks), first=first + 1, last=last + 1
        )
        return f"{told} {found.stopped}".strip()

    # -- undoing ------------------------------------------------------------------------------------

    def undo(self) -> Action:
        """Take exactly the last action back.

        Raises:
            NotPossible: when there is none.
        """
        if not self._undo:
            raise NotPossible(_("There is nothing to undo."))
        action = self._undo.pop()
        self._put(action.before)
        self._redo.append(action)
        return action

    def redo(self) -> Action:
        """Do the action again that was undone last.

        Raises:
            NotPossible: when there is none.
        """
        if not self._redo:
            raise NotPossible(_("There is nothing to do again."))
        action = self._redo.pop()
        self._put(action.after)
        self._undo.append(action)
        return action

    def replace_all(self, frames: Mapping[int, Frame], based_on: int, saved: bool) -> None:
        """Begin from other decisions: those of the server (``saved``), or of a journal. Ends undoing."""
        self._frames = {number: frame for number, frame in frames.items() if frame != Frame()}
        self.based_on = based_on
        self._undo.clear()
        self._redo.clear()
        self.revision += 1
        if saved:
            self.saved_revision = self.revision

    # -- how ----------------------------------------------------------------------------------------

    def _decided(self, number: int, state: str, mask: Mask | None) -> Frame:
        before = self.frame(number)
        proposal = self.proposal(number)
        return Frame(
            state=state,
            mask=mask,
            plane=before.plane if state == ANNOTATED else None,
            rater=self.rater,
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            model=proposal.model if proposal else "",
            version=proposal.version if proposal else "",
            seconds=self._spent(number, before),
            between=before.between,
        )

    def _spent(self, number: int, before: Frame) -> float | None:
        shown, since = self._shown
        if shown != number:
            return before.seconds
        now = self._clock()
        self._shown = (number, now)
        return min((before.seconds or 0.0) + now - since, MAX_SECONDS)

    def _do(self, name: str, after: Mapping[int, Frame]) -> None:
        action = Action(name, {number: self.frame(number) for number in after}, dict(after))
        self._put(action.after)
        self._undo.append(action)
        del self._undo[:-MAX_UNDO]
        self._redo.clear()

    def _put(self, frames: Mapping[int, Frame]) -> None:
        for number, frame in frames.items():
            if frame == Frame():
                self._frames.pop(number, None)
            else:
                self._frames[number] = frame
        self.revision += 1
