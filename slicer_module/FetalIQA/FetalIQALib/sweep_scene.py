"""The current case in the MRML scene: shows labels and proposals, and reads strokes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from FetalIQALib.case_controller import CaseController
from FetalIQALib.ellipse_measurement import Ellipse
from FetalIQALib.ellipse_tool import EllipseTool
from FetalIQALib.frame_annotations import Origin
from FetalIQALib.frame_masks import Mask
from FetalIQALib.image_sequence import ImageSequence
from FetalIQALib.line_measurement import Line
from FetalIQALib.line_tool import LineTool
from FetalIQALib.mask_overlay import MaskOverlay
from FetalIQALib.quality_plot import QualityPlot
from FetalIQALib.server_session import PROBLEM
from FetalIQALib.sweep_data import Sweep
from FetalIQALib.translation import _

SHOWN_LINE_PX = 2.0  # width of the measured line in the overlay


class SweepScene:
    """Synchronizes scene and controller. The controller is authoritative: nodes may be deleted at any time.

    Args:
        scene: MRML scene.
        sequences: Slicer's sequences logic.
        controller: of the current case.

    Attributes:
        loaded: called after frames were loaded into the scene, so that views can show them; with True for another
            case, False for nodes that were made again.
        other_rater_mask: returns another rater's mask of a frame.
        merged: called after added segments were merged, so that the editor can select the remaining one.
    """

    def __init__(self, scene: Any, sequences: Any, controller: CaseController) -> None:
        self.scene = scene
        self.controller = controller
        self.frames = ImageSequence(scene, sequences)
        self.overlay = MaskOverlay(scene)
        self.plots = QualityPlot(scene)
        self.ellipse_tool = EllipseTool(scene, self._placed)
        self.line_tool = LineTool(scene, self._lined)
        self.loaded: Callable[[bool], None] = lambda new_case: None
        self.merged: Callable[[], None] = lambda: None
        self.other_rater_mask: Callable[[int], Mask | None] = lambda frame: None
        self.proposals_shown = True
        self._sweep: Sweep | None = None
        self._frame = -1
        self._collecting = False
        controller.before_action = self.collect_strokes
        controller.session.add_listener(self._on_change)

    @property
    def tool(self) -> EllipseTool | LineTool:
        """The tool for the anatomy: ellipse, or line where it is one."""
        return self.line_tool if self._is_line else self.ellipse_tool

    @property
    def _is_line(self) -> bool:
        annotation = self.controller.annotation
        return annotation is not None and annotation.sweep.is_line

    # -- controller to scene ------------------------------------------------------------------------

    def _on_change(self, topic: str) -> None:
        if topic == "case":
            self.refresh()
        elif topic in ("frames", "position", "review"):
            self.draw()

    def refresh(self) -> None:
        """Update the scene to the current case; missing nodes are made again."""
        annotation = self.controller.annotation
        if annotation is None:
            self.clear()
            return
        sweep = annotation.sweep
        changed = self._sweep is None or self._sweep.stack is not sweep.stack
        assessment_changed = changed or self._sweep is None or self._sweep.assessment is not sweep.assessment
        spacing_changed = self._sweep is not None and self._sweep.spacing_mm != sweep.spacing_mm
        self._sweep = sweep
        if changed or spacing_changed or not self.frames.complete or not self.overlay.complete:
            self._frame = -1
            self._stop_tools()
            self.frames.load(sweep)
            self.overlay.load(sweep.case, self.frames.volume, sweep.shape)
            self.overlay.set_reference_visible(self.proposals_shown)
            self.loaded(changed)
        if assessment_changed or not self.plots.complete:
            self._plot(sweep)
        self.draw()

    def _plot(self, sweep: Sweep) -> None:
        if sweep.assessment is not None:
            self.plots.load(sweep.assessment)
        else:
            self.plots.remove()

    def draw(self) -> None:
        """Show the current frame with its masks, its ellipse and its position in the plot."""
        annotation = self.controller.annotation
        if annotation is None or self._sweep is not annotation.sweep or not self.complete:
            return
        frame = self.controller.position
        if frame != self._frame:
            self.cancel_ellipse()  # its points belong to the previous frame
        self._frame = frame
        self.frames.show(frame)
        mask, proposal = annotation.frame(frame).mask, annotation.proposal(frame)
        interpolated = proposal is not None and proposal.between_frames
        self.overlay.show(mask, None if proposal is None else proposal.mask, interpolated, self._ellipse(frame))
        self.overlay.show_other(self.other_rater_mask(frame))
        self.plots.show(frame)

    def _ellipse(self, frame: int) -> np.ndarray | None:
        """The ellipse that is measured, or the line, as a mask."""
        measurement = self.controller.measurement(frame)
        if self._sweep is None:
            return None
        if measurement.line is not None:
            return measurement.line.draw(self._sweep.shape, SHOWN_LINE_PX)
        return None if measurement.ellipse is None else measurement.ellipse.draw(self._sweep.shape)

    @property
    def complete(self) -> bool:
        """Whether all nodes for editing are in the scene."""
        return self.frames.complete and self.overlay.complete

    def show_proposals(self, shown: bool) -> None:
        """Show or hide proposal, ellipse and other rater's mask."""
        self.proposals_shown = shown
        self.overlay.set_reference_visible(shown)

    def clear(self) -> None:
        """Remove this module's nodes from the scene."""
        self._stop_tools()
        self.overlay.remove()
        self.plots.remove()
        self.frames.remove()
        self._sweep, self._frame = None, -1

    # -- scene to controller ------------------------------------------------------------------------

    def collect_strokes(self) -> None:
        """Store pending strokes of the current frame; the controller calls this before every action."""
        annotation = self.controller.annotation
        if (
            self._collecting
            or annotation is None
            or self._frame < 0
            or self._sweep is not annotation.sweep
            or not self.complete
        ):
            return
        merged = self.overlay.merge_segments()
        mask = self.overlay.edited_mask()
        if merged:
            self.merged()
        if mask is None:
            return
        self._collecting = True
        try:
            self.controller.draw_mask(self._frame, mask, _("drawn"))
        finally:
            self._collecting = False
        if merged:
            message = _("Segment {names} was merged into the mask of frame {frame}: each frame has one mask.")
            self.controller.session.show_status(
                message.format(names=", ".join(merged), frame=self._frame), PROBLEM
            )

    def sync_from_scene(self) -> None:
        """Store strokes and follow the sequence browser's current frame; called by the timer.

        Not called in the Segment Editor's event, because the editor is still processing it.
        """
        if self.controller.annotation is None or self._frame < 0 or self.scene.IsBatchProcessing():
            return
        if not self.complete:
            self.refresh()
            self.controller.session.show_status(
                _("Deleted nodes of this case were restored, with all labels. To remove them, close the case.")
            )
            return
        if self.overlay.edited:
            self.collect_strokes()
        if self.tool.canceled:
            self.cancel_ellipse()
        self.tool.finish()
        if self.frames.shown() != self._frame:
            self.controller.go_to(self.frames.shown())

    def close_if_deleted(self) -> None:
        """Close the case if its images were deleted while the module was not open."""
        annotation = self.controller.annotation
        if annotation is None or self._sweep is None or self.frames.complete:
            return
        if self.controller.close():
            message = _("The images of {case} were deleted, so the case was closed; open it again to continue.")
            self.controller.session.show_status(message.format(case=annotation.sweep.case))

    def scene_closing(self) -> None:
        """Save the work and close the case before the scene is closed."""
        annotation = self.controller.annotation
        if annotation is None:
            return
        if self.controller.close() and annotation.unsaved:
            message = _("The scene was closed. Your work on {case} is saved; open the case again to continue.")
            self.controller.session.show_status(message.format(case=annotation.sweep.case))

    # -- tools --------------------------------------------------------------------------------------

    def start_ellipse(self) -> bool:
        """Start the ellipse tool, or the line tool where the anatomy is a line."""
        if self.controller.annotation is None or not self.complete:
            return False
        if self._is_line:
            line = self.controller.measurement(self.controller.position).line
            self.line_tool.start(self.frames.volume, line)
            message = (
                _("Click both ends of the bone's shaft.") if line is None else _("Drag the ends of the line.")
            )
            self.controller.session.show_status(message)
            return True
        self.ellipse_tool.start(self.frames.volume)
        self.controller.session.show_status(_("Click both ends of one axis, then both ends of the other."))
        return True

    def cancel_ellipse(self) -> bool:
        """Cancel the ellipse tool and remove its points; False if it is not active."""
        active = [tool for tool in (self.ellipse_tool, self.line_tool) if tool.active]
        self._stop_tools()
        if active:
            self.controller.session.show_status(
                _("Line ended; the mask stays.") if active[0] is self.line_tool else _("Ellipse canceled.")
            )
        return bool(active)

    def _stop_tools(self) -> None:
        for tool in (self.ellipse_tool, self.line_tool):
            if tool.active:
                tool.stop()

    def _lined(self, line: Line) -> None:
        annotation = self.controller.annotation
        if annotation is None:
            return
        self.controller.draw_mask(self.controller.position, line.draw(annotation.sweep.shape), _("line"), Origin())

    def _placed(self, ellipse: Ellipse | None) -> None:
        annotation = self.controller.annotation
        if annotation is None or ellipse is None:
            self.controller.session.show_status(
                _("An axis is shorter than two pixels; place the ellipse again."), PROBLEM
            )
            return
        drawn = ellipse.draw(annotation.sweep.shape)
        self.controller.draw_mask(self.controller.position, drawn, _("ellipse"), Origin())
