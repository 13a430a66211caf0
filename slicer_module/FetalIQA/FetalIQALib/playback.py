"""Playback of the frames: speed, and the range that is repeated."""

from __future__ import annotations

from typing import Any

import qt

from FetalIQALib.case_controller import CaseController
from FetalIQALib.qt_helpers import fill_combo, get_property
from FetalIQALib.translation import _

ALL, SWEEP, RANGE = range(3)  # entries of the combo box
PLAY, PAUSE = "▶", "❚❚"


class Playback:
    """Plays the frames of the current case; padding is left out.

    Args:
        ui: the widgets by name.
        controller: of the current case.
    """

    def __init__(self, ui: Any, controller: CaseController) -> None:
        self.ui = ui
        self.controller = controller
        self._timer = qt.QTimer()
        self._timer.timeout.connect(self.step)
        self._marks: tuple[int | None, int | None] = (None, None)
        self._case = ""
        fill_combo(ui.loopCombo, [_("all frames"), _("this sweep"), _("marked range")])
        ui.speedSpin.valueChanged.connect(lambda *_value: self._set_speed())
        ui.playButton.clicked.connect(lambda *_checked: self.toggle())
        controller.session.add_listener(self._on_change)
        self._set_speed()
        self._show()

    @property
    def playing(self) -> bool:
        """Whether playback is running."""
        return bool(get_property(self._timer, "active"))

    @property
    def marks(self) -> tuple[int, int] | None:
        """First and last frame of the marked range; None if none is marked or the range is not played."""
        annotation = self.controller.annotation
        if annotation is None or self._marks == (None, None) or self._mode() != RANGE:
            return None
        first, last = self._marks
        return (first or 0, annotation.sweep.count - 1 if last is None else last)

    def toggle(self) -> None:
        """Start or pause."""
        if self.playing:
            self.pause()
        elif self.controller.annotation is not None:
            self._timer.start()
        self._show()

    def pause(self) -> None:
        """Pause."""
        self._timer.stop()
        self._show()

    def mark(self, end: bool) -> None:
        """Make the current frame the first (``end``: the last) frame of the range, and play the range.

        A mark on the wrong side of the other one removes the other one.
        """
        if self.controller.annotation is None:
            return
        frame, (first, last) = self.controller.position, self._marks
        if end:
            self._marks = (first if first is None or first <= frame else None, frame)
        else:
            self._marks = (frame, last if last is None or last >= frame else None)
        self.ui.loopCombo.setCurrentIndex(RANGE)
        self.controller.session.notify("position")
        first, last = self.marks or (0, 0)
        self.controller.session.show_status(
            _("Playback: frames {first} to {last}.").format(first=first, last=last)
        )

    def frames(self) -> tuple[int, int]:
        """First and last frame that are played."""
        annotation = self.controller.annotation
        if annotation is None:
            return (0, 0)
        if self._mode() == SWEEP:
            start, stop = annotation.sweep.ranges[annotation.sweep.sweep_of(self.controller.position)]
            return (start, stop - 1)
        return self.marks or (0, annotation.sweep.count - 1)

    def step(self) -> None:
        """Show the next frame; after the last one, the first."""
        annotation = self.controller.annotation
        if annotation is None:
            self.pause()
            return
        first, last = self.frames()
        shown = [frame for frame in range(first, last + 1) if not annotation.sweep.padding[frame]]
        later = [frame for frame in shown if frame > self.controller.position]
        if shown:
            self.controller.go_to(later[0] if later else shown[0])

    def _mode(self) -> int:
        return int(get_property(self.ui.loopCombo, "currentIndex"))

    def _set_speed(self) -> None:
        self._timer.setInterval(max(round(1000 / int(get_property(self.ui.speedSpin, "value"))), 1))

    def _show(self) -> None:
        self.ui.playButton.setText(PAUSE if self.playing else PLAY)
        self.ui.playButton.setChecked(self.playing)

    def _on_change(self, topic: str) -> None:
        annotation = self.controller.annotation
        case = "" if annotation is None else annotation.sweep.case
        if topic == "case" and case != self._case:  # the marks belong to the previous case
            self._case, self._marks = case, (None, None)
            if self._mode() == RANGE:
                self.ui.loopCombo.setCurrentIndex(ALL)
            if annotation is None:
                self.pause()
