"""Small parts of the window, and the few places where PythonQt and PySide differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import qt

from FetalIQALib.strip import frame_at


def read(widget: Any, name: str) -> Any:
    """A property of a widget: an attribute in PythonQt, a method in PySide, and this in both."""
    return widget.property(name)


def text_of(widget: Any) -> str:
    """The text of a line edit."""
    return str(read(widget, "text") or "")


def pixmap_of(picture: np.ndarray) -> Any:
    """A picture, uint8 [H, W, 3], as a pixmap; handed over as a PPM file, which every Qt reads."""
    height, width, _colours = picture.shape
    pixmap = qt.QPixmap()
    pixmap.loadFromData(qt.QByteArray(b"P6 %d %d 255\n" % (width, height) + picture.tobytes()))
    return pixmap


def fill_combo(combo: Any, texts: Sequence[str], chosen: str = "") -> None:
    """Put texts into a combo box, keeping the choice when it is still there; tells nobody."""
    before = chosen or str(read(combo, "currentText") or "")
    combo.blockSignals(True)
    combo.clear()
    for text in texts:
        combo.addItem(text)
    combo.setCurrentIndex(texts.index(before) if before in texts else 0 if texts else -1)
    combo.blockSignals(False)


def fill_table(table: Any, rows: Sequence[Sequence[str]], tips: Sequence[str] = (), row: int = -1) -> None:
    """Put texts into a table, select a row; tells nobody."""
    table.blockSignals(True)
    table.setRowCount(len(rows))
    for number, texts in enumerate(rows):
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            if tips:
                item.setToolTip(tips[number])
            table.setItem(number, column, item)
    if row >= 0:
        table.selectRow(row)
    else:
        table.clearSelection()
    table.blockSignals(False)


def stretch(table: Any, columns: int, wide: int) -> None:
    """Give one column of a table all the width that the others leave."""
    header = table.horizontalHeader()
    header.setStretchLastSection(False)
    for number in range(columns):
        wanted = qt.QHeaderView.Stretch if number == wide else qt.QHeaderView.ResizeToContents
        header.setSectionResizeMode(number, wanted)


class StripMouse(qt.QObject):
    """Clicks and drags on the quality strip.

    Args:
        label: shows the strip.
        frames: gives the number of frames, 0 without a case.
        go: gets the frame under the mouse.
        tip: gives the tool tip of a frame.
    """

    def __init__(
        self, label: Any, frames: Callable[[], int], go: Callable[[int], None], tip: Callable[[int], str]
    ) -> None:
        qt.QObject.__init__(self)
        self._label = label
        self._frames = frames
        self._go = go
        self._tip = tip
        label.setMouseTracking(True)
        label.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Qt calls this for every event of the label."""
        kind, count = event.type(), self._frames()
        pressed, moved = qt.QEvent.MouseButtonPress, qt.QEvent.MouseMove
        if count == 0 or kind not in (pressed, moved):
            return False
        place = event.position() if hasattr(event, "position") else event.pos()  # Qt 6, Qt 5
        frame = frame_at(int(place.x()), count, int(read(self._label, "width")))
        if kind == pressed or event.buttons() == qt.Qt.LeftButton:
            self._go(frame)
        else:
            self._label.setToolTip(self._tip(frame))
        return True


class Keys:
    """The module's keys: there while the module is entered, gone when it is left.

    Args:
        window: Slicer's main window.
        keys: key, as Qt writes it, by action.
        run: gets the name of the action.
    """

    def __init__(self, window: Any, keys: dict[str, str], run: Callable[[str], None]) -> None:
        self._window = window
        self._keys = keys
        self._run = run
        self._shortcuts: list[Any] = []

    @property
    def installed(self) -> bool:
        """Whether they are there."""
        return bool(self._shortcuts)

    def install(self) -> None:
        """Let the keys work."""
        if self._shortcuts or self._window is None:
            return
        for name, key in self._keys.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), self._window)
            shortcut.activated.connect(lambda name=name: self._run(name))
            self._shortcuts.append(shortcut)

    def remove(self) -> None:
        """Take them away."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []
