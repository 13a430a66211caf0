"""The window's main part: connection, current case, frames, decisions. It shows; the workplace decides."""

from __future__ import annotations

from html import escape
from typing import Any

import qt

from FetalIQALib import describing
from FetalIQALib.actions import Actions, all_actions
from FetalIQALib.frames_view import PRESETS
from FetalIQALib.hub import BUSY, PROBLEM
from FetalIQALib.qtparts import Keys, StripMouse, fill_combo, pixmap_of, read, text_of
from FetalIQALib.scene import SweepScene
from FetalIQALib.strip import draw_strip
from FetalIQALib.texts import _
from FetalIQALib.workplace import Workplace

TICK_MS = 50  # results of the server, strokes and the sequence browser are looked at this often
PLAY_MS = 70  # a frame while playing: about 14 a second, as ACOUSLIC-AI sweeps were recorded
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
    *("previousSuggestion", "nextSuggestion", "best", "reviewAccept", "reviewReturn"),
)

LETTERED = BUTTONS[:12]  # their keys stand on them, so that they are learned by the way


def _short(key: str) -> str:
    """A key as it stands on a button."""
    return key.replace("Shift+", "⇧").replace("Ctrl+", "Ctrl ").replace("Return", "↵")


class Panel:
    """Connects the widgets of ``FetalIQA.ui`` with a workplace.

    Args:
        ui: the widgets, by name.
        place: the workplace.
        scene: draws it.
        window: Slicer's main window, where the keys live.
    """

    def __init__(self, ui: Any, place: Workplace, scene: SweepScene, window: Any) -> None:
        self.ui = ui
        self.place = place
        self.scene = scene
        self.actions = Actions(place)
        self._add_window_actions()
        self.keys = Keys(window, {action.name: action.key for action in all_actions()}, self.actions.run)
        self._timer, self._player = qt.QTimer(), qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._player.setInterval(PLAY_MS)
        self._timer.timeout.connect(self.tick)
        self._player.timeout.connect(self._play_on)
        self._strip_drawn: tuple = ()
        self._connected: tuple = ()
        self._case = ""
        fill_combo(ui.windowCombo, [_(name) for name, _window, _level in PRESETS])
        self._connect()
        place.hub.listen(self._heard)
        for topic in ("status", "connection", "case"):
            self._heard(topic)

    # -- signals ------------------------------------------------------------------------------------

    def _add_window_actions(self) -> None:
        add = self.actions.add
        add("connect", self.connect_server)
        add("play", self.play)
        add("ellipse", self.scene.start_ellipse)
        add("proposals", lambda: self.ui.proposalsCheck.toggle())
        add("window", lambda: self.ui.windowCombo.setCurrentIndex((self.scene.frames.preset + 1) % len(PRESETS)))
        add(
            "help",
            lambda: self.ui.helpSection.setProperty("collapsed", not read(self.ui.helpSection, "collapsed")),
        )

    def _connect(self) -> None:
        ui, named = self.ui, {action.name: action for action in all_actions()}
        for name in BUTTONS:
            button = getattr(ui, f"{name}Button")
            button.clicked.connect(lambda *_checked, name=name: self.actions.run(name))
            action = named[name]
            button.setToolTip(f"{action.text[:1].upper()}{action.text[1:]} ({action.key})")
            if name in LETTERED:
                button.setText(f"{read(button, 'text')}  {_short(action.key)}")
        ui.playButton.clicked.connect(lambda *_checked: self.play())
        ui.playButton.setToolTip(_("Play or pause (K)"))
        ui.frameSlider.valueChanged.connect(self.place.desk.go_to)
        ui.proposalsCheck.toggled.connect(self.scene.show_proposals)
        ui.windowCombo.currentIndexChanged.connect(lambda *_index: self._choose_window())
        ui.dismissButton.clicked.connect(lambda *_checked: self.place.desk.dismiss_kept())
        ui.mineButton.clicked.connect(lambda *_checked: self.place.desk.resolve("mine"))
        ui.theirsButton.clicked.connect(lambda *_checked: self.place.desk.resolve("theirs"))
        ui.bothButton.clicked.connect(
            lambda *_checked: self.place.desk.resolve("both", text_of(ui.bothEdit).strip())
        )
        for edit in (ui.addressEdit, ui.tokenEdit, ui.raterEdit, ui.tagEdit):
            edit.returnPressed.connect(self.connect_server)
        self._mouse = StripMouse(
            ui.stripLabel,
            lambda: self.place.desk.work.sweep.count if self.place.desk.work is not None else 0,
            self.place.desk.go_to,
            lambda frame: describing.strip_tip(self.place.desk, frame),
        )

    def _choose_window(self) -> None:
        self.scene.frames.window(int(read(self.ui.windowCombo, "currentIndex")))

    def connect_server(self) -> None:
        """Connect to the server of the address field, or try again."""
        ui = self.ui
        address = text_of(ui.addressEdit) or str(read(ui.addressEdit, "placeholderText"))
        self.place.connect(address, text_of(ui.tokenEdit), text_of(ui.raterEdit), text_of(ui.tagEdit).strip())

    # -- time ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """The module is entered: keys and timers work."""
        self.keys.install()
        self._timer.start()

    def stop(self) -> None:
        """The module is left: keys and playing end; strokes are taken over and the work is kept."""
        self.keys.remove()
        self.pause()
        self.scene.follow()
        self.place.desk.keep(force=True)

    def end(self) -> None:
        """The module goes for good."""
        self.stop()
        self._timer.stop()
        self.place.leave()

    def tick(self) -> None:
        """Look at what arrived and what was drawn."""
        self.scene.follow()  # first: an answer that arrives may draw over a stroke that is not taken over yet
        self.place.pump()
        self._draw_strip()

    def play(self) -> None:
        """Play from here, or pause."""
        if self.playing:
            self.pause()
        elif self.place.desk.work is not None:
            self._player.start()
        self.ui.playButton.setChecked(self.playing)

    @property
    def playing(self) -> bool:
        """Whether the frames are played."""
        return bool(read(self._player, "active"))

    def pause(self) -> None:
        """Stop playing."""
        self._player.stop()
        self.ui.playButton.setChecked(False)

    def _play_on(self) -> None:
        work = self.place.desk.work
        if work is None:
            self.pause()
            return
        frame = self.place.desk.position
        for _step in range(work.sweep.count):  # padding is not played
            frame = (frame + 1) % work.sweep.count
            if not work.sweep.padding[frame]:
                break
        self.place.desk.go_to(frame)

    # -- showing ------------------------------------------------------------------------------------

    def _heard(self, topic: str) -> None:
        if topic == "status":
            self._show_status()
        elif topic == "connection":
            self._show_connection()
        elif topic in ("case", "frames", "position", "kept", "conflict"):
            if topic == "case":
                self._show_case()
            self._show_frame()
            self._show_offers()

    def _show_status(self) -> None:
        status = self.place.hub.status
        self.ui.statusLabel.setText(status.text)
        self.ui.statusLabel.setToolTip(status.text)
        self.ui.statusLabel.setStyleSheet(STATUS_STYLES.get(status.kind, ""))
        self.ui.cancelButton.setVisible(self.place.runner.busy())

    def _show_connection(self) -> None:
        ui, hub = self.ui, self.place.hub
        ui.tokenLabel.setVisible(hub.wants_token)
        ui.tokenEdit.setVisible(hub.wants_token)
        ui.connectButton.setText(_("Connect") if hub.online or hub.client is None else _("Retry"))
        if hub.info is None:
            ui.serverLabel.setText(_("Start the server with: python -m monailabel_app.serve --studies DIR"))
        else:
            models = "\n".join(f"{name}: {bundle}" for name, bundle in hub.info.models.items())
            away = "" if hub.online else _("The server is away.") + "\n"
            lines = [f"{away}{hub.info.name} {hub.info.version}", models, *describing.not_offered_lines(hub.info)]
            ui.serverLabel.setText("\n".join(lines))
        if (hub.online, hub.wants_token) != self._connected:  # what the user opened or closed meanwhile stays
            self._connected = (hub.online, hub.wants_token)
            ui.connectionSection.setProperty("collapsed", hub.online and not hub.wants_token)
        ui.cancelButton.setVisible(self.place.runner.busy())

    def _show_case(self) -> None:
        work = self.place.desk.work
        self.ui.framesSection.setProperty("enabled", work is not None)
        self.ui.editorSection.setProperty("enabled", work is not None)
        self.ui.frameSlider.blockSignals(True)
        self.ui.frameSlider.setRange(0, 0 if work is None else work.sweep.count - 1)
        self.ui.frameSlider.blockSignals(False)
        if work is None:
            self.pause()
        case = "" if work is None else work.sweep.case
        if case != self._case:  # the list makes room for the case, and comes back with the next
            self._case = case
            self.ui.casesSection.setProperty("collapsed", bool(case))

    def _show_frame(self) -> None:
        ui, desk = self.ui, self.place.desk
        ui.frameSlider.blockSignals(True)
        ui.frameSlider.setValue(desk.position)
        ui.frameSlider.blockSignals(False)
        ui.frameLabel.setText(describing.frame_line(desk))
        told, colour = escape(describing.decision_line(desk)), describing.decision_colour(desk)
        ui.decisionLabel.setText(f'<span style="color:{colour}">■</span> {told}' if colour else told)
        ui.measureLabel.setText(describing.measurement_line(desk))
        ui.caseLabel.setText(describing.case_line(desk))
        self._draw_strip()

    def _show_offers(self) -> None:
        ui, desk = self.ui, self.place.desk
        others = desk.keeper.told_of_others()
        yours = _("There is unsubmitted work of yours on this case.") if desk.keeper.offered else ""
        ui.resumeFrame.setVisible(desk.work is not None and bool(yours or others))
        ui.resumeLabel.setText(f"{yours} {others}".strip())
        ui.resumeButton.setVisible(bool(desk.keeper.offered))
        ui.dismissButton.setText(_("Not now") if yours else _("OK"))
        ui.dismissButton.setToolTip(
            _("Put it aside; the file is kept") if yours else _("Nothing is changed by that")
        )
        ui.conflictFrame.setVisible(desk.conflict is not None)
        if desk.conflict is not None:
            told = _("{who} saved version {version} meanwhile ({count} frames decided). Nothing of yours is lost.")
            ui.conflictLabel.setText(
                told.format(
                    who=desk.conflict.who or _("Somebody"),
                    version=desk.conflict.version,
                    count=len(desk.conflict.frames),
                )
            )
            if not text_of(ui.bothEdit):
                ui.bothEdit.setText(f"{desk.tag}-{self.place.hub.rater or 'mine'}".replace(" ", "-"))

    def _draw_strip(self) -> None:
        work, width = self.place.desk.work, max(int(read(self.ui.stripLabel, "width")), 50)
        if work is None:
            self.ui.stripLabel.clear()
            self._strip_drawn = ()
            return
        drawn = (id(work), work.revision, id(work.sweep), self.place.desk.position, width)
        if drawn != self._strip_drawn:
            self._strip_drawn = drawn
            self.ui.stripLabel.setPixmap(pixmap_of(draw_strip(work, self.place.desk.position, width)))
