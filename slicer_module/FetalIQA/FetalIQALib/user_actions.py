"""Actions of keys and buttons by name. No key is one of the Segment Editor's.

Two shortcuts with one key on one window are ambiguous: Qt activates neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from FetalIQALib.case_annotation import CaseAnnotation, UndoStep
from FetalIQALib.frame_annotations import OPTIMAL, SUBOPTIMAL
from FetalIQALib.frame_navigation import next_suggested, step_frame
from FetalIQALib.model_training import QUICK
from FetalIQALib.translation import _
from FetalIQALib.workspace import Workspace

JUMP = 10  # frames; annotators skip five to ten between outlined frames
EDITOR_KEYS = (
    # the editor's shortcuts on Slicer's main window (qMRMLSegmentEditorWidget::installKeyboardShortcuts)
    *(str(digit) for digit in range(10)),
    *(f"Shift+{digit}" for digit in range(10)),
    *("Esc", "Space", "Z", "Y", "Q", "W", "/", "*", ",", ".", ">", "<", "I"),
    *("Ctrl+Z", "Ctrl+Y", "Ctrl+Shift+Z", "Alt+Backspace", "Alt+Shift+Backspace"),  # undo, redo by platform
    # its effects' keys (Slicer's user guide, "Segment editor")
    *("Left", "Right", "X", "A", "Return", "Enter", "-", "+"),
)


MAIN_WINDOW_KEYS = (
    # of Slicer's main window and its Edit menu (qSlicerMainWindow)
    *("Ctrl+O", "Ctrl+S", "Ctrl+W", "Ctrl+X", "Ctrl+C", "Ctrl+V", "Ctrl+F"),
    *(f"Ctrl+{digit}" for digit in range(10)),
)


@dataclass(frozen=True)
class Action:
    """An action of a key or button.

    Attributes:
        name: of the action; with ``Button`` appended, of its button.
        key: in Qt notation.
        group: heading in the help panel.
        text: short description.
    """

    name: str
    key: str
    group: str
    text: str


def all_actions() -> list[Action]:
    """The actions in the order of the help panel."""
    view, label, case, more = _("View"), _("Label"), _("Case"), _("More")
    return [
        Action("next", "PgDown", view, _("next frame")),
        Action("previous", "PgUp", view, _("previous frame")),
        Action("forward", "L", view, _("ten frames forward")),
        Action("back", "J", view, _("ten frames back")),
        Action("play", "K", view, _("play or pause")),
        Action("nextSuggestion", "N", view, _("next suggested frame")),
        Action("previousSuggestion", "Shift+N", view, _("previous suggested frame")),
        Action("best", "Home", view, _("the model's best frame")),
        Action("proposals", "H", view, _("show or hide the proposed mask")),
        Action("window", "P", view, _("next window/level preset")),
        Action("adjust", "Shift+P", view, _("window/level by dragging the mouse, on or off")),
        Action("zoom", "V", view, _("strip: this sweep or all frames")),
        Action("loopStart", "Shift+PgUp", view, _("play from this frame on")),
        Action("loopEnd", "Shift+PgDown", view, _("play up to this frame")),
        Action("accept", "D", label, _("accept the proposed mask")),
        Action("empty", "E", label, _("mark the frame as empty")),
        Action("optimal", "O", label, _("optimal plane (again: remove grade)")),
        Action("suboptimal", "S", label, _("suboptimal plane (again: remove grade)")),
        Action("brush", "B", label, _("brush, on or off")),
        Action("eraser", "R", label, _("eraser, on or off")),
        Action("click", "F", label, _("correct the mask by clicks (again: end)")),
        Action("carry", "T", label, _("carry the mask along the sweep")),
        Action("confirmCarried", "Shift+T", label, _("confirm carried masks up to this frame")),
        Action("ellipse", "Shift+E", label, _("draw an ellipse by its two axes")),
        Action("copyNext", "C", label, _("copy mask to the next frame")),
        Action("copyPrevious", "Shift+C", label, _("copy mask to the previous frame")),
        Action("interpolate", "M", label, _("interpolate between two masks")),
        Action("clear", "Del", label, _("clear the label; end clicks or an ellipse")),
        Action("undo", "U", label, _("undo one action")),
        Action("redo", "Shift+U", label, _("redo one action")),
        Action("submit", "Ctrl+Return", case, _("submit this case")),
        Action("nextCase", "Ctrl+Shift+Return", case, _("open the next case")),
        Action("previousCase", "Ctrl+Shift+Backspace", case, _("open the case before this one")),
        Action("skip", "Ctrl+Shift+S", case, _("skip the case with the chosen reason")),
        Action("closeCase", "Ctrl+Shift+W", case, _("close the case and remove it from the scene")),
        Action("resume", "Ctrl+Shift+U", case, _("resume unsubmitted work")),
        Action("refresh", "Ctrl+Shift+L", case, _("refresh the worklist")),
        Action("connect", "Ctrl+Shift+K", case, _("connect or reconnect")),
        Action("cancel", "Ctrl+Shift+X", case, _("cancel running requests")),
        Action("train", "Ctrl+Shift+G", more, _("start a quick training")),
        Action("reviewAccept", "Ctrl+Shift+Y", more, _("accept the reviewed version")),
        Action("requestChanges", "Ctrl+Shift+J", more, _("request changes (with comment)")),
        Action("export", "Ctrl+Shift+P", more, _("export the labelled frames")),
        Action("help", "Shift+F1", more, _("show or hide the table of keys")),
    ]


class Actions:
    """Functions of the actions; the panel adds those that need the window.

    Args:
        workspace: the workspace.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.controller = workspace.controller
        label, go = self._label, self._go
        self._functions: dict[str, Callable[[], object]] = {
            "next": lambda: go(step_frame(self.controller, 1)),
            "previous": lambda: go(step_frame(self.controller, -1)),
            "forward": lambda: go(step_frame(self.controller, JUMP)),
            "back": lambda: go(step_frame(self.controller, -JUMP)),
            "nextSuggestion": lambda: go(next_suggested(self.controller, 1)),
            "previousSuggestion": lambda: go(next_suggested(self.controller, -1)),
            "best": self._best,
            "accept": lambda: label(_("accepted"), lambda annotation, frame: annotation.accept(frame)),
            "empty": lambda: label(_("empty frame"), lambda annotation, frame: annotation.mark_empty(frame)),
            "optimal": lambda: label(
                _("plane graded"), lambda annotation, frame: annotation.grade(frame, OPTIMAL)
            ),
            "suboptimal": lambda: label(
                _("plane graded"), lambda annotation, frame: annotation.grade(frame, SUBOPTIMAL)
            ),
            "copyNext": lambda: self._copy(1),
            "copyPrevious": lambda: self._copy(-1),
            "carry": lambda: workspace.carry.start(),
            "confirmCarried": lambda: workspace.carry.confirm(),
            "interpolate": lambda: label(
                _("interpolated"), lambda annotation, frame: annotation.interpolate(frame)
            ),
            "clear": self.clear_label,
            "undo": self._undo,
            "redo": lambda: self._undo_or_redo(
                lambda annotation: annotation.redo(), _("Redone: {name}, frame {frame}.")
            ),
            "submit": lambda: self.controller.submit(),
            "previousCase": lambda: workspace.flow.previous(),
            "resume": lambda: self.controller.annotation is not None and self.controller.resume(),
            "refresh": lambda: workspace.worklist.refresh(),
            "cancel": lambda: workspace.session.cancel(),
            "train": lambda: workspace.training.start(QUICK),
            "reviewAccept": lambda: workspace.review.accept(),
        }

    def add(self, name: str, does: Callable[[], object]) -> None:
        """Add the function of an action."""
        self._functions[name] = does

    def run(self, name: str) -> None:
        """Run an action."""
        self._functions[name]()

    def clear_label(self) -> bool:
        """Clear the label of the current frame."""
        return self._label(_("label cleared"), lambda annotation, frame: annotation.clear(frame))

    # -- helpers ------------------------------------------------------------------------------------

    def _go(self, frame: int | None) -> None:
        if frame is None:
            self.workspace.session.show_status(_("No such frame."))
        else:
            self.controller.go_to(frame)

    def _best(self) -> None:
        annotation = self.controller.annotation
        self._go(
            annotation.sweep.assessment.best
            if annotation is not None and annotation.sweep.assessment is not None
            else None
        )

    def _label(self, name: str, action: Callable[[CaseAnnotation, int], str | None]) -> bool:
        return self.controller.apply(name, lambda annotation: action(annotation, self.controller.position))

    def _copy(self, way: int) -> None:
        source = self.controller.position
        target = source + way
        if self.controller.apply(_("copied"), lambda annotation: annotation.copy(source, target)):
            self.controller.go_to(target)
            message = _("Frame {frame}: mask copied from frame {source}.").format(frame=target, source=source)
            self.workspace.session.show_status(message, frame=target)

    def _undo(self) -> None:
        if not self.workspace.clicks.take_back():
            self._undo_or_redo(lambda annotation: annotation.undo(), _("Undone: {name}, frame {frame}."))

    def _undo_or_redo(self, action: Callable[[CaseAnnotation], UndoStep], template: str) -> None:
        """Undo or redo, and show the changed frame."""
        changed: list[int] = []

        def work_on(annotation: CaseAnnotation) -> str:
            done = action(annotation)
            changed.append(done.frame)
            return template.format(name=done.name, frame=done.frame)

        if self.controller.apply("", work_on) and changed[0] != self.controller.position:
            message = self.workspace.session.status.text
            self.controller.go_to(changed[0])
            self.workspace.session.show_status(message, frame=changed[0])
