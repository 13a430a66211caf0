"""The case on the desk, in Slicer's scene: draws what was decided, takes over what is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from FetalIQALib.decisions import INTERPOLATION
from FetalIQALib.desk import Desk
from FetalIQALib.ellipse_tool import EllipseTool
from FetalIQALib.frames_view import FramesView
from FetalIQALib.hub import PROBLEM
from FetalIQALib.masks import Mask
from FetalIQALib.outline import Ellipse
from FetalIQALib.overlay import Overlay
from FetalIQALib.plots import Plots
from FetalIQALib.sweep import Sweep
from FetalIQALib.texts import _


class SweepScene:
    """Keeps scene and desk in step. The desk holds the truth: nodes can be deleted or closed at any time.

    Args:
        scene: MRML scene.
        sequences: Slicer's sequences logic.
        desk: what is drawn.

    Attributes:
        loaded: called after a case was put into the scene, so that views can show it.
        other: gives another rater's mask of a frame.
    """

    def __init__(self, scene: Any, sequences: Any, desk: Desk) -> None:
        self.scene = scene
        self.desk = desk
        self.frames = FramesView(scene, sequences)
        self.overlay = Overlay(scene)
        self.plots = Plots(scene)
        self.tool = EllipseTool(scene, self._placed)
        self.loaded: Callable[[], None] = lambda: None
        self.other: Callable[[int], Mask | None] = lambda frame: None
        self.proposals_shown = True
        self._sweep: Sweep | None = None
        self._frame = -1
        self._pulling = False
        desk.before_action = self.pull
        desk.hub.listen(self._heard)

    # -- desk to scene ------------------------------------------------------------------------------

    def _heard(self, topic: str) -> None:
        if topic == "case":
            self.refresh()
        elif topic in ("frames", "position", "review"):
            self.draw()

    def refresh(self) -> None:
        """Bring the scene up to what is on the desk; missing nodes are made again."""
        work = self.desk.work
        if work is None:
            self.clear()
            return
        sweep = work.sweep
        other = self._sweep is None or self._sweep.stack is not sweep.stack
        assessed = other or self._sweep is None or self._sweep.assessment is not sweep.assessment
        spaced = self._sweep is not None and self._sweep.spacing_mm != sweep.spacing_mm
        self._sweep = sweep
        if other or spaced or not self.frames.whole or not self.overlay.whole:
            self._frame = -1
            self.tool.stop()
            self.frames.load(sweep)
            self.overlay.load(sweep.case, self.frames.volume, sweep.shape)
            self.overlay.show_beside(self.proposals_shown)
            self.loaded()
        if assessed or not self.plots.whole:
            self._plot(sweep)
        self.draw()

    def _plot(self, sweep: Sweep) -> None:
        if sweep.assessment is not None:
            self.plots.load(sweep.assessment.quality, sweep.assessment.circumference_mm)
        else:
            self.plots.remove()

    def draw(self) -> None:
        """Show the current frame with its masks, its ellipse and its place in the plot."""
        work = self.desk.work
        if work is None or self._sweep is not work.sweep or not self.whole:
            return
        frame = self.desk.position
        self._frame = frame
        self.frames.show(frame)
        mask, proposal = work.frame(frame).mask, work.proposal(frame)
        between = proposal is not None and proposal.model == INTERPOLATION
        self.overlay.show(mask, None if proposal is None else proposal.mask, between, self._ellipse(frame))
        self.overlay.show_other(self.other(frame))
        self.plots.show(frame)

    def _ellipse(self, frame: int) -> np.ndarray | None:
        found = self.desk.measurement(frame).ellipse
        return None if found is None or self._sweep is None else found.draw(self._sweep.shape)

    @property
    def whole(self) -> bool:
        """Whether all that edits depend on is in the scene."""
        return self.frames.whole and self.overlay.whole

    def show_proposals(self, shown: bool) -> None:
        """Show or hide everything that is not the person's own mask."""
        self.proposals_shown = shown
        self.overlay.show_beside(shown)

    def clear(self) -> None:
        """Take this module's nodes out of the scene, and no others."""
        self.tool.stop()
        self.overlay.remove()
        self.plots.remove()
        self.frames.remove()
        self._sweep, self._frame = None, -1

    # -- scene to desk ------------------------------------------------------------------------------

    def pull(self) -> None:
        """Take over what was drawn on the current frame; the desk calls it before everything it does."""
        work = self.desk.work
        if self._pulling or work is None or self._frame < 0 or self._sweep is not work.sweep or not self.whole:
            return
        drawn = self.overlay.drawn()
        if drawn is None:
            return
        self._pulling = True
        try:
            self.desk.drawn(self._frame, drawn, _("drawn"))
        finally:
            self._pulling = False

    def follow(self) -> None:
        """Take over strokes, and the frame that the sequence browser's own tool bar chose; the timer calls it.

        Not done in the Segment Editor's own event, which is in the middle of its work then.
        """
        if self.desk.work is None or self._frame < 0 or self.scene.IsBatchProcessing():
            return
        if not self.whole:
            self.refresh()
            self.desk.hub.say(_("Nodes of this case were deleted; they are there again, with all your decisions."))
            return
        if self.overlay.edited:
            self.pull()
        self.tool.finish()
        if self.frames.shown() != self._frame:
            self.desk.go_to(self.frames.shown())

    def closing(self) -> None:
        """The scene is about to be closed: take over strokes, keep the work, clear the desk."""
        work = self.desk.work
        if work is None:
            return
        if self.desk.close() and work.unsaved:
            told = _("The scene was closed. Your work on {case} is kept: open the case again to go on.")
            self.desk.hub.say(told.format(case=work.sweep.case))

    # -- tools --------------------------------------------------------------------------------------

    def start_ellipse(self) -> bool:
        """Let the user place the two axes of an ellipse."""
        if self.desk.work is None or not self.whole:
            return False
        self.tool.start(self.frames.volume)
        self.desk.hub.say(_("Click both ends of one axis, then both ends of the other."))
        return True

    def _placed(self, ellipse: Ellipse | None) -> None:
        work = self.desk.work
        if work is None or ellipse is None:
            self.desk.hub.say(_("An axis is shorter than two pixels; start again."), PROBLEM)
            return
        self.desk.drawn(self.desk.position, ellipse.draw(work.sweep.shape), _("ellipse"))
