"""The current frame in the panel: texts, quality strip, comments."""

from __future__ import annotations

from html import escape
from typing import Any

from FetalIQALib import panel_text
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.image_sequence import PRESETS
from FetalIQALib.playback import Playback
from FetalIQALib.qt_helpers import StripMouseFilter, background_of, fill_combo, get_property, line_text, pixmap_of
from FetalIQALib.quality_strip import StripView, draw_strip
from FetalIQALib.sweep_scene import SweepScene
from FetalIQALib.theme_colours import MARK_CONTRAST, css, readable
from FetalIQALib.translation import _
from FetalIQALib.workspace import Workspace


class FrameSection:
    """Shows the current frame.

    Args:
        ui: the widgets by name.
        workspace: the workspace.
        scene: the MRML scene of the current case.
        playback: of the case.
    """

    def __init__(self, ui: Any, workspace: Workspace, scene: SweepScene, playback: Playback) -> None:
        self.ui = ui
        self.controller = workspace.controller
        self.scene = scene
        self.playback = playback
        self.strip = StripView()
        self._strip_state: tuple = ()
        self._commented: tuple[CaseAnnotation | None, int] = (None, -1)  # what the comment fields belong to
        self._window_level: tuple[float, float] | None = None
        fill_combo(ui.windowCombo, [*(_(name) for name, _window, _level in PRESETS), _("by mouse")])
        ui.frameSlider.valueChanged.connect(self.controller.go_to)
        ui.windowCombo.currentIndexChanged.connect(lambda *_index: self._choose_window())
        ui.zoomCheck.toggled.connect(self._zoom)
        for edit in (ui.frameCommentEdit, ui.caseCommentEdit):
            edit.editingFinished.connect(self._save_comments)
            edit.returnPressed.connect(lambda edit=edit: edit.clearFocus())
        store_strokes = self.controller.before_action

        def before_action() -> None:
            store_strokes()
            self.commit_comments()

        self.controller.before_action = before_action
        self._mouse = StripMouseFilter(
            ui.stripLabel,
            self._frame_at,
            self.controller.go_to,
            lambda frame: panel_text.strip_tip(self.controller, frame),
        )

    # -- display ------------------------------------------------------------------------------------

    def show_case(self) -> None:
        """Adapt to another case, or none."""
        annotation = self.controller.annotation
        for widget in (self.ui.workFrame, self.ui.viewSection, self.ui.editorSection):
            widget.setVisible(annotation is not None)
        self.ui.frameSlider.blockSignals(True)
        self.ui.frameSlider.setRange(0, 0 if annotation is None else annotation.sweep.count - 1)
        self.ui.frameSlider.blockSignals(False)

    def show(self) -> None:
        """Show the current frame."""
        ui, controller = self.ui, self.controller
        ui.frameSlider.blockSignals(True)
        ui.frameSlider.setValue(controller.position)
        ui.frameSlider.blockSignals(False)
        ui.frameLabel.setText(panel_text.frame_line(controller))
        text, colour = escape(panel_text.label_line(controller)), panel_text.label_colour(controller)
        if colour is not None:
            mark = css(readable(colour, background_of(ui.annotationLabel), MARK_CONTRAST))
            text = f'<span style="color:{mark}">■</span> {text}'
        ui.annotationLabel.setText(text)
        if controller.annotation is not None:
            ui.emptyButton.setText(_("No {anatomy}").format(anatomy=controller.annotation.sweep.anatomy))
        ui.measureLabel.setText(panel_text.measurement_line(controller))
        ui.caseLabel.setText(panel_text.case_line(controller))
        ui.caseLabel.setToolTip(panel_text.case_line(controller))
        self._show_comments()
        self.draw_strip()

    def draw_strip(self) -> None:
        """Draw the quality strip if it has changed."""
        annotation, label = self.controller.annotation, self.ui.stripLabel
        if annotation is None:
            label.clear()
            self._strip_state = ()
            return
        width, position = max(int(get_property(label, "width")), 50), self.controller.position
        zoomed, marks = self.strip.zooms(annotation.sweep, width), self.playback.marks
        state = (id(annotation), annotation.revision, id(annotation.sweep), position, width, zoomed, marks)
        if state != self._strip_state:
            self._strip_state = state
            label.setPixmap(pixmap_of(draw_strip(annotation, position, width, self.strip, marks)))
            self.ui.zoomCheck.blockSignals(True)
            self.ui.zoomCheck.setChecked(zoomed)
            self.ui.zoomCheck.blockSignals(False)

    def follow_window(self) -> None:
        """Show window and level, which Slicer's mouse mode changes; called by the timer."""
        shown = self.scene.frames.window_level()
        if shown == self._window_level:
            return
        self._window_level = shown
        preset = self.scene.frames.shown_preset()
        self.ui.windowCombo.blockSignals(True)
        self.ui.windowCombo.setCurrentIndex(len(PRESETS) if preset is None else preset)
        self.ui.windowCombo.blockSignals(False)
        self.ui.windowLabel.setText("" if shown is None else f"{shown[0]:.0f} / {shown[1]:.0f}")

    def next_window(self) -> None:
        """Choose the next window/level preset."""
        preset = self.scene.frames.shown_preset()
        self.ui.windowCombo.setCurrentIndex(0 if preset is None else (preset + 1) % len(PRESETS))

    def _choose_window(self) -> None:
        number = int(get_property(self.ui.windowCombo, "currentIndex"))
        if number < len(PRESETS):
            self.scene.frames.window(number)

    def _zoom(self, zoomed: bool) -> None:
        self.strip.zoomed = bool(zoomed)
        self.draw_strip()

    def _frame_at(self, x: int, y: int) -> int | None:
        annotation = self.controller.annotation
        if annotation is None:
            return None
        width = int(get_property(self.ui.stripLabel, "width"))
        return self.strip.frame_at(annotation.sweep, self.controller.position, x, y, width)

    # -- comments -----------------------------------------------------------------------------------

    def commit_comments(self) -> None:
        """Store what was typed in the comment fields, before another frame or case is shown."""
        annotation, frame = self._commented
        if annotation is not None and annotation is self.controller.annotation:
            annotation.comment_frame(frame, line_text(self.ui.frameCommentEdit))
            annotation.comment_case(line_text(self.ui.caseCommentEdit))

    def _save_comments(self) -> None:
        self.commit_comments()
        self.controller.save_journal()
        self.controller.session.notify("frames")

    def _show_comments(self) -> None:
        annotation, frame = self.controller.annotation, self.controller.position
        self._commented = (annotation, frame)
        for edit, text in (
            (self.ui.frameCommentEdit, "" if annotation is None else annotation.frame(frame).comment),
            (self.ui.caseCommentEdit, "" if annotation is None else annotation.comment),
        ):
            if line_text(edit) != text:
                edit.setText(text)
