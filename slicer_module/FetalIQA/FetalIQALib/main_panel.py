"""Main part of the panel: connection, status line, flow of cases, actions of keys and buttons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt

from FetalIQALib import panel_text
from FetalIQALib.case_flow import SKIP_REASONS
from FetalIQALib.client_errors import InvalidAction
from FetalIQALib.frame_section import FrameSection
from FetalIQALib.key_table import KeyTable
from FetalIQALib.playback import Playback
from FetalIQALib.qt_helpers import (
    Shortcuts,
    background_of,
    emphasize_when_checked,
    fill_combo,
    get_property,
    line_text,
    normal_key,
)
from FetalIQALib.server_session import BUSY, PROBLEM
from FetalIQALib.sweep_scene import SweepScene
from FetalIQALib.theme_colours import css, readable
from FetalIQALib.translation import _
from FetalIQALib.user_actions import Actions, all_actions
from FetalIQALib.window_level import WindowLevelMouse
from FetalIQALib.workspace import Workspace

TICK_MS = 50  # interval of polling server results, strokes and the sequence browser
WORKER_SECONDS = 0.02  # of each tick that are left to the threads of running requests, see TaskRunner.pump
STATUS_COLOURS = {BUSY: (0, 114, 178), PROBLEM: (213, 94, 0)}  # blue and vermilion of Okabe and Ito (2008)
KEYS_FILE = "keys.json"
BUTTONS = (
    *("accept", "empty", "optimal", "suboptimal", "interpolate", "copyPrevious", "copyNext", "clear", "ellipse"),
    *("brush", "eraser", "click", "carry", "confirmCarried", "undo", "redo", "submit"),
    *("previousCase", "nextCase", "skip", "closeCase", "refresh", "connect", "cancel", "resume", "export"),
    *("previous", "next", "previousSuggestion", "nextSuggestion", "best", "adjust", "loopStart", "loopEnd"),
    *("reviewAccept", "requestChanges"),
)
TOOLS = ("brush", "eraser", "click")  # buttons that stay pressed
BUTTONS_WITH_KEY = BUTTONS[:17]  # buttons that show their key


def _short(key: str) -> str:
    """A key as shown on a button."""
    return key.replace("Shift+", "⇧").replace("Ctrl+", "Ctrl ").replace("Return", "↵")


class MainPanel:
    """Connects the widgets of ``FetalIQA.ui`` with a workspace.

    Args:
        ui: the widgets by name.
        workspace: the workspace.
        scene: the MRML scene of the current case.
        window: Slicer's main window, which receives the keys.
        editor: the Segment Editor, see ``slicer_app.SegmentEditor``.
    """

    def __init__(self, ui: Any, workspace: Workspace, scene: SweepScene, window: Any, editor: Any) -> None:
        self.ui = ui
        self.workspace = workspace
        self.scene = scene
        self.editor = editor
        self.window = window
        self.actions = Actions(workspace)
        self.playback = Playback(ui, workspace.controller)
        self.frame_section = FrameSection(ui, workspace, scene, self.playback)
        self.mouse = WindowLevelMouse(scene.scene)
        self._add_window_actions()
        self.key_table = KeyTable(all_actions(), _keys_file(workspace), normal_key)
        self.keys = Shortcuts(window, self.key_table.keys(), self.actions.run)
        self._texts = {name: str(get_property(getattr(ui, f"{name}Button"), "text")) for name in BUTTONS}
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self.tick)
        self._connected: tuple = ()
        self._case = ""
        for name in TOOLS:
            emphasize_when_checked(getattr(ui, f"{name}Button"))
        fill_combo(ui.skipCombo, [_(reason) for reason in SKIP_REASONS])
        self._connect()
        self.show_keys()
        workspace.session.add_listener(self._on_change)
        for topic in ("status", "connection", "case"):
            self._on_change(topic)
        if self.key_table.problem:
            workspace.session.show_error(InvalidAction(self.key_table.problem))

    # -- actions ------------------------------------------------------------------------------------

    def _add_window_actions(self) -> None:
        add, ui = self.actions.add, self.ui
        add("connect", self.connect_server)
        add("play", self.playback.toggle)
        add("loopStart", lambda: self.playback.mark(end=False))
        add("loopEnd", lambda: self.playback.mark(end=True))
        add("nextCase", lambda: self.workspace.flow.next(self._strategy()))
        add("skip", self._skip)
        add("closeCase", self._close_case)
        add("ellipse", self.scene.start_ellipse)
        add("brush", lambda: self._use("Paint"))
        add("eraser", lambda: self._use("Erase"))
        add("clear", lambda: self.scene.cancel_ellipse() or self.actions.clear_label())
        add("proposals", lambda: ui.proposalsCheck.toggle())
        add("zoom", lambda: ui.zoomCheck.toggle())
        add("window", self.frame_section.next_window)
        add("adjust", self.mouse.toggle)
        add(
            "help",
            lambda: ui.helpSection.setProperty("collapsed", not get_property(ui.helpSection, "collapsed")),
        )

    def _connect(self) -> None:
        ui, controller = self.ui, self.workspace.controller
        for name in BUTTONS:
            button = getattr(ui, f"{name}Button")
            button.clicked.connect(lambda *_checked, name=name: self.actions.run(name))
        ui.proposalsCheck.toggled.connect(self.scene.show_proposals)
        ui.brushSlider.valueChanged.connect(self.editor.set_brush)
        ui.dismissButton.clicked.connect(lambda *_checked: controller.dismiss_saved_work())
        ui.mineButton.clicked.connect(lambda *_checked: controller.resolve("mine"))
        ui.theirsButton.clicked.connect(lambda *_checked: controller.resolve("theirs"))
        ui.bothButton.clicked.connect(lambda *_checked: controller.resolve("both", line_text(ui.bothEdit).strip()))
        for edit in (ui.addressEdit, ui.tokenEdit, ui.raterEdit, ui.tagEdit):
            edit.returnPressed.connect(self.connect_server)

    def show_keys(self) -> None:
        """Activate the keys of the key table and show them on the buttons."""
        keys, texts = self.key_table.keys(), {action.name: action.text for action in all_actions()}
        self.keys.change(keys)
        for name in BUTTONS:
            button = getattr(self.ui, f"{name}Button")
            button.setToolTip(f"{texts[name][:1].upper()}{texts[name][1:]} ({keys[name]})")
            if name in BUTTONS_WITH_KEY:
                button.setText(f"{self._texts[name]}  {_short(keys[name])}")
        for widget, name, tip in (
            (self.ui.playButton, "play", _("Play or pause")),
            (self.ui.windowCombo, "window", _("Window/level preset")),
            (self.ui.proposalsCheck, "proposals", _("Show or hide the proposed mask")),
            (self.ui.zoomCheck, "zoom", _("Show only the current sweep in the strip")),
        ):
            widget.setToolTip(f"{tip} ({keys[name]})")

    def _use(self, effect: str) -> None:
        """Activate brush or eraser, or deactivate it."""
        if self.workspace.controller.annotation is not None:
            self.editor.use(effect)
            self._show_tools()

    def _strategy(self) -> str:
        return str(get_property(self.ui.strategyCombo, "currentText")) or "random"

    def _skip(self) -> None:
        self.workspace.flow.skip(
            SKIP_REASONS[int(get_property(self.ui.skipCombo, "currentIndex"))], self._strategy()
        )

    def _close_case(self) -> None:
        annotation, session = self.workspace.controller.annotation, self.workspace.session
        if annotation is None:
            session.show_status(_("No case is open."))
        elif self.workspace.controller.close():
            message = _("{case} is closed.").format(case=annotation.sweep.case)
            saved = _("Your unsubmitted work on it is saved.") if annotation.unsaved else ""
            session.show_status(f"{message} {saved}".strip())

    def connect_server(self) -> None:
        """Connect, or reconnect, to the server in the address field."""
        ui = self.ui
        address = line_text(ui.addressEdit) or str(get_property(ui.addressEdit, "placeholderText"))
        self.workspace.connect(
            address, line_text(ui.tokenEdit), line_text(ui.raterEdit), line_text(ui.tagEdit).strip()
        )

    # -- timer --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Activate keys and timers."""
        self.scene.close_if_deleted()
        self.keys.install()
        self._timer.start()

    def stop(self) -> None:
        """Deactivate keys, timer and playback; store pending strokes and comments, and save the work."""
        self.keys.remove()
        self._timer.stop()
        self.playback.pause()
        self.mouse.end()
        self.scene.sync_from_scene()
        self.frame_section.commit_comments()
        self.workspace.controller.save_journal(force=True)

    def end(self) -> None:
        """Stop the timers and close the workspace."""
        self.stop()
        self.workspace.close()

    def tick(self) -> None:
        """Process server results and strokes."""
        self.scene.sync_from_scene()  # before a response may redraw the frame
        self.workspace.pump(WORKER_SECONDS)
        self.frame_section.draw_strip()
        self.frame_section.follow_window()
        self._show_tools()
        self._show_download()

    # -- display ------------------------------------------------------------------------------------

    def _on_change(self, topic: str) -> None:
        if topic == "status":
            self._show_status()
        elif topic == "connection":
            self._show_connection()
        elif topic in ("case", "frames", "position", "saved_work", "conflict"):
            if topic == "case":
                self._show_case()
            self.frame_section.show()
            if topic != "position":
                self._show_offers()

    def _show_status(self) -> None:
        status, label = self.workspace.session.status, self.ui.statusLabel
        label.setText(status.text)
        label.setToolTip(status.text)
        colour = STATUS_COLOURS.get(status.kind)
        style = "" if colour is None else f"color: {css(readable(colour, background_of(label)))};"
        label.setStyleSheet(style + (" font-weight: bold;" if status.kind == PROBLEM else ""))
        self.ui.cancelButton.setVisible(self.workspace.runner.busy())

    def _show_connection(self) -> None:
        ui, session = self.ui, self.workspace.session
        ui.tokenLabel.setVisible(session.token_required)
        ui.tokenEdit.setVisible(session.token_required)
        ui.connectButton.setText(_("Connect") if session.online or session.client is None else _("Retry"))
        if session.info is None:
            ui.serverLabel.setText(_("Start the server with: fetaliqa serve DIR"))
        else:
            models = "\n".join(f"{name}: {bundle}" for name, bundle in session.info.models.items())
            away = "" if session.online else _("Server unreachable.") + "\n"
            lines = [
                f"{away}{session.info.name} {session.info.version}",
                models,
                *panel_text.not_offered_lines(session.info),
            ]
            ui.serverLabel.setText("\n".join(lines))
        # keep what the user expanded or collapsed
        if (session.online, session.token_required) != self._connected:
            self._connected = (session.online, session.token_required)
            ui.connectionSection.setProperty("collapsed", session.online and not session.token_required)
        ui.cancelButton.setVisible(self.workspace.runner.busy())

    def _show_case(self) -> None:
        annotation = self.workspace.controller.annotation
        self.frame_section.show_case()
        case = "" if annotation is None else annotation.sweep.case
        for name in ("skip", "closeCase"):
            getattr(self.ui, f"{name}Button").setEnabled(bool(case))
        if case != self._case:  # collapse the list while a case is open
            self._case = case
            self.ui.casesSection.setProperty("collapsed", bool(case))

    def _show_tools(self) -> None:
        """Show which tool of the Segment Editor is active, which its own keys change, too."""
        used, brush = self.editor.used(), self.editor.brush()
        self.ui.brushButton.setChecked(used == "Paint")
        self.ui.eraserButton.setChecked(used == "Erase")
        self.ui.adjustButton.setChecked(self.mouse.active)
        if brush is not None and round(brush) != int(get_property(self.ui.brushSlider, "value")):
            self.ui.brushSlider.blockSignals(True)
            self.ui.brushSlider.setValue(round(brush))
            self.ui.brushSlider.blockSignals(False)

    def _show_download(self) -> None:
        percent = self.workspace.controller.download.percent()
        running = self.workspace.runner.busy("open") and percent not in (None, 100)
        self.ui.loadProgress.setVisible(running)
        if running:
            self.ui.loadProgress.setValue(percent)

    def _show_offers(self) -> None:
        ui, controller = self.ui, self.workspace.controller
        other_work = controller.autosave.other_work_message()
        own_work = _("You have unsubmitted work on this case.") if controller.autosave.offered else ""
        ui.resumeFrame.setVisible(controller.annotation is not None and bool(own_work or other_work))
        ui.resumeLabel.setText(f"{own_work} {other_work}".strip())
        ui.resumeButton.setVisible(bool(controller.autosave.offered))
        ui.dismissButton.setText(_("Archive") if own_work else _("OK"))
        ui.dismissButton.setToolTip(
            _("Archive the work; the file is not deleted") if own_work else _("Hide this message")
        )
        ui.conflictFrame.setVisible(controller.conflict is not None)
        if controller.conflict is not None:
            template = _(
                "{who} saved version {version} in the meantime ({count} frames labelled). Your work is not lost."
            )
            ui.conflictLabel.setText(
                template.format(
                    who=controller.conflict.who or _("Another rater"),
                    version=controller.conflict.version,
                    count=len(controller.conflict.frames),
                )
            )
            if not line_text(ui.bothEdit):
                ui.bothEdit.setText(f"{controller.tag}-{self.workspace.session.rater or 'mine'}".replace(" ", "-"))


def _keys_file(workspace: Workspace) -> Path:
    return workspace.folder.parent / KEYS_FILE
