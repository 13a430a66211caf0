"""Main part of the panel: connection, current case, frames, labels."""

from __future__ import annotations

from html import escape
from typing import Any

import qt

from FetalIQALib import panel_text
from FetalIQALib.image_sequence import PRESETS
from FetalIQALib.qt_helpers import Shortcuts, StripMouseFilter, fill_combo, get_property, line_text, pixmap_of
from FetalIQALib.quality_strip import draw_strip
from FetalIQALib.server_session import BUSY, PROBLEM
from FetalIQALib.sweep_scene import SweepScene
from FetalIQALib.translation import _
from FetalIQALib.user_actions import Actions, all_actions
from FetalIQALib.workspace import Workspace

TICK_MS = 50  # interval of polling server results, strokes and the sequence browser
WORKER_SECONDS = 0.02  # of each tick that are left to the threads of running requests, see TaskRunner.pump
PLAY_MS = 70  # per frame in playback: about 14 frames a second, as in ACOUSLIC-AI sweeps
STATUS_STYLES = {
    BUSY: "color: #56b4e9;",
    PROBLEM: "color: #d55e00; font-weight: bold;",
}
BUTTONS = (
    *("accept", "empty", "ellipse", "optimal", "suboptimal", "interpolate", "copyPrevious", "copyNext", "clear"),
    *(
        "undo",
        "redo",
        "submit",
        "nextCase",
        "refresh",
        "connect",
        "cancel",
        "resume",
        "export",
        "previous",
        "next",
    ),
    *("previousSuggestion", "nextSuggestion", "best", "reviewAccept", "requestChanges"),
)

BUTTONS_WITH_KEY = BUTTONS[:12]  # buttons that show their key


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
    """

    def __init__(self, ui: Any, workspace: Workspace, scene: SweepScene, window: Any) -> None:
        self.ui = ui
        self.workspace = workspace
        self.scene = scene
        self.actions = Actions(workspace)
        self._add_window_actions()
        self.keys = Shortcuts(window, {action.name: action.key for action in all_actions()}, self.actions.run)
        self._timer, self._player = qt.QTimer(), qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._player.setInterval(PLAY_MS)
        self._timer.timeout.connect(self.tick)
        self._player.timeout.connect(self._play_next_frame)
        self._strip_state: tuple = ()
        self._connected: tuple = ()
        self._case = ""
        fill_combo(ui.windowCombo, [_(name) for name, _window, _level in PRESETS])
        self._connect()
        workspace.session.add_listener(self._on_change)
        for topic in ("status", "connection", "case"):
            self._on_change(topic)

    # -- signals ------------------------------------------------------------------------------------

    def _add_window_actions(self) -> None:
        add = self.actions.add
        add("connect", self.connect_server)
        add("play", self.play)
        add("closeCase", self._close_case)
        add("ellipse", self.scene.start_ellipse)
        add("clear", lambda: self.scene.cancel_ellipse() or self.actions.clear_label())
        add("proposals", lambda: self.ui.proposalsCheck.toggle())
        add("window", lambda: self.ui.windowCombo.setCurrentIndex((self.scene.frames.preset + 1) % len(PRESETS)))
        add(
            "help",
            lambda: self.ui.helpSection.setProperty(
                "collapsed", not get_property(self.ui.helpSection, "collapsed")
            ),
        )

    def _connect(self) -> None:
        ui, actions_by_name = self.ui, {action.name: action for action in all_actions()}
        for name in BUTTONS:
            button = getattr(ui, f"{name}Button")
            button.clicked.connect(lambda *_checked, name=name: self.actions.run(name))
            action = actions_by_name[name]
            button.setToolTip(f"{action.text[:1].upper()}{action.text[1:]} ({action.key})")
            if name in BUTTONS_WITH_KEY:
                button.setText(f"{get_property(button, 'text')}  {_short(action.key)}")
        ui.playButton.clicked.connect(lambda *_checked: self.play())
        ui.playButton.setToolTip(_("Play or pause (K)"))
        ui.frameSlider.valueChanged.connect(self.workspace.controller.go_to)
        ui.proposalsCheck.toggled.connect(self.scene.show_proposals)
        ui.windowCombo.currentIndexChanged.connect(lambda *_index: self._choose_window())
        ui.dismissButton.clicked.connect(lambda *_checked: self.workspace.controller.dismiss_saved_work())
        ui.mineButton.clicked.connect(lambda *_checked: self.workspace.controller.resolve("mine"))
        ui.theirsButton.clicked.connect(lambda *_checked: self.workspace.controller.resolve("theirs"))
        ui.bothButton.clicked.connect(
            lambda *_checked: self.workspace.controller.resolve("both", line_text(ui.bothEdit).strip())
        )
        for edit in (ui.addressEdit, ui.tokenEdit, ui.raterEdit, ui.tagEdit):
            edit.returnPressed.connect(self.connect_server)
        self._mouse = StripMouseFilter(
            ui.stripLabel,
            lambda: (
                self.workspace.controller.annotation.sweep.count
                if self.workspace.controller.annotation is not None
                else 0
            ),
            self.workspace.controller.go_to,
            lambda frame: panel_text.strip_tip(self.workspace.controller, frame),
        )

    def _close_case(self) -> None:
        annotation, session = self.workspace.controller.annotation, self.workspace.session
        if annotation is None:
            session.show_status(_("No case is open."))
        elif self.workspace.controller.close():
            message = _("{case} is closed.").format(case=annotation.sweep.case)
            saved = _("Your unsubmitted work on it is saved.") if annotation.unsaved else ""
            session.show_status(f"{message} {saved}".strip())

    def _choose_window(self) -> None:
        self.scene.frames.window(int(get_property(self.ui.windowCombo, "currentIndex")))

    def connect_server(self) -> None:
        """Connect, or reconnect, to the server in the address field."""
        ui = self.ui
        address = line_text(ui.addressEdit) or str(get_property(ui.addressEdit, "placeholderText"))
        self.workspace.connect(
            address, line_text(ui.tokenEdit), line_text(ui.raterEdit), line_text(ui.tagEdit).strip()
        )

    # -- timers -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Activate keys and timers."""
        self.scene.close_if_deleted()
        self.keys.install()
        self._timer.start()

    def stop(self) -> None:
        """Deactivate keys, timer and playback; store pending strokes and save the work."""
        self.keys.remove()
        self._timer.stop()
        self.pause()
        self.scene.sync_from_scene()
        self.workspace.controller.save_journal(force=True)

    def end(self) -> None:
        """Stop the timers and close the workspace."""
        self.stop()
        self.workspace.close()

    def tick(self) -> None:
        """Process server results and strokes."""
        self.scene.sync_from_scene()  # before a response may redraw the frame
        self.workspace.pump(WORKER_SECONDS)
        self._draw_strip()

    def play(self) -> None:
        """Start or pause playback."""
        if self.playing:
            self.pause()
        elif self.workspace.controller.annotation is not None:
            self._player.start()
        self.ui.playButton.setChecked(self.playing)

    @property
    def playing(self) -> bool:
        """Whether playback is running."""
        return bool(get_property(self._player, "active"))

    def pause(self) -> None:
        """Pause playback."""
        self._player.stop()
        self.ui.playButton.setChecked(False)

    def _play_next_frame(self) -> None:
        annotation = self.workspace.controller.annotation
        if annotation is None:
            self.pause()
            return
        frame = self.workspace.controller.position
        for _step in range(annotation.sweep.count):  # skip padding
            frame = (frame + 1) % annotation.sweep.count
            if not annotation.sweep.padding[frame]:
                break
        self.workspace.controller.go_to(frame)

    # -- display ------------------------------------------------------------------------------------

    def _on_change(self, topic: str) -> None:
        if topic == "status":
            self._show_status()
        elif topic == "connection":
            self._show_connection()
        elif topic in ("case", "frames", "position", "saved_work", "conflict"):
            if topic == "case":
                self._show_case()
            self._show_frame()
            self._show_offers()

    def _show_status(self) -> None:
        status = self.workspace.session.status
        self.ui.statusLabel.setText(status.text)
        self.ui.statusLabel.setToolTip(status.text)
        self.ui.statusLabel.setStyleSheet(STATUS_STYLES.get(status.kind, ""))
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
        if (
            session.online,
            session.token_required,
        ) != self._connected:  # keep what the user expanded or collapsed
            self._connected = (session.online, session.token_required)
            ui.connectionSection.setProperty("collapsed", session.online and not session.token_required)
        ui.cancelButton.setVisible(self.workspace.runner.busy())

    def _show_case(self) -> None:
        annotation = self.workspace.controller.annotation
        self.ui.framesSection.setProperty("enabled", annotation is not None)
        self.ui.editorSection.setProperty("enabled", annotation is not None)
        self.ui.frameSlider.blockSignals(True)
        self.ui.frameSlider.setRange(0, 0 if annotation is None else annotation.sweep.count - 1)
        self.ui.frameSlider.blockSignals(False)
        if annotation is None:
            self.pause()
        case = "" if annotation is None else annotation.sweep.case
        if case != self._case:  # collapse the list while a case is open
            self._case = case
            self.ui.casesSection.setProperty("collapsed", bool(case))

    def _show_frame(self) -> None:
        ui, controller = self.ui, self.workspace.controller
        ui.frameSlider.blockSignals(True)
        ui.frameSlider.setValue(controller.position)
        ui.frameSlider.blockSignals(False)
        ui.frameLabel.setText(panel_text.frame_line(controller))
        text, colour = escape(panel_text.label_line(controller)), panel_text.label_colour(controller)
        ui.annotationLabel.setText(f'<span style="color:{colour}">■</span> {text}' if colour else text)
        ui.measureLabel.setText(panel_text.measurement_line(controller))
        ui.caseLabel.setText(panel_text.case_line(controller))
        self._draw_strip()

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

    def _draw_strip(self) -> None:
        annotation, width = (
            self.workspace.controller.annotation,
            max(int(get_property(self.ui.stripLabel, "width")), 50),
        )
        if annotation is None:
            self.ui.stripLabel.clear()
            self._strip_state = ()
            return
        state = (
            id(annotation),
            annotation.revision,
            id(annotation.sweep),
            self.workspace.controller.position,
            width,
        )
        if state != self._strip_state:
            self._strip_state = state
            self.ui.stripLabel.setPixmap(
                pixmap_of(draw_strip(annotation, self.workspace.controller.position, width))
            )
