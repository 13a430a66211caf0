"""Qt helpers, and the differences between PythonQt and PySide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import qt


def get_property(widget: Any, name: str) -> Any:
    """A property of a widget, which is an attribute in PythonQt and a method in PySide."""
    return widget.property(name)


def line_text(widget: Any) -> str:
    """The text of a line edit."""
    return str(get_property(widget, "text") or "")


def normal_key(text: str) -> str:
    """A key in Qt's portable spelling; empty for text that is no single key."""
    sequence = qt.QKeySequence(text)
    portable = str(sequence.toString(qt.QKeySequence.PortableText))
    return portable if portable and "," not in portable.replace("+,", "") and portable != "," else ""


def background_of(widget: Any) -> tuple[int, int, int]:
    """Colour of the window behind a widget in the application's palette."""
    colour = get_property(widget, "palette").color(qt.QPalette.Window)
    return (int(colour.red()), int(colour.green()), int(colour.blue()))


def pixmap_of(picture: np.ndarray) -> Any:
    """An image, uint8 [H, W, 3], as a pixmap, via PPM, which every Qt reads."""
    height, width, _colours = picture.shape
    pixmap = qt.QPixmap()
    pixmap.loadFromData(qt.QByteArray(b"P6 %d %d 255\n" % (width, height) + picture.tobytes()))
    return pixmap


def fill_combo(combo: Any, texts: Sequence[str], chosen: str = "") -> None:
    """Fill a combo box and keep the current choice if possible, without signals."""
    previous = chosen or str(get_property(combo, "currentText") or "")
    combo.blockSignals(True)
    combo.clear()
    for text in texts:
        combo.addItem(text)
    combo.setCurrentIndex(texts.index(previous) if previous in texts else 0 if texts else -1)
    combo.blockSignals(False)


def fill_table(table: Any, rows: Sequence[Sequence[str]], tips: Sequence[str] = (), row: int = -1) -> None:
    """Fill a table and select a row, without signals."""
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


def stretch_column(table: Any, columns: int, wide: int) -> None:
    """Let one column of a table take the remaining width."""
    header = table.horizontalHeader()
    header.setStretchLastSection(False)
    for number in range(columns):
        mode = qt.QHeaderView.Stretch if number == wide else qt.QHeaderView.ResizeToContents
        header.setSectionResizeMode(number, mode)


def emphasize_when_checked(button: Any) -> None:
    """Underline the text of a checked button in bold; in a dark theme the button itself hardly changes."""

    def emphasize(checked: bool) -> None:
        font = qt.QFont(get_property(button, "font"))
        font.setBold(checked)
        font.setUnderline(checked)
        button.setFont(font)

    button.toggled.connect(emphasize)


def wrap_rows(table: Any) -> None:
    """Let long texts of a table continue on a second line."""
    table.setWordWrap(True)
    table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)


class StripMouseFilter(qt.QObject):
    """Event filter for clicks and drags on the quality strip.

    Args:
        label: widget of the strip.
        frame_at: returns the frame at a pixel; None without a case.
        go: called with the frame under the mouse.
        tip: returns the tool tip of a frame.
    """

    def __init__(
        self,
        label: Any,
        frame_at: Callable[[int, int], int | None],
        go: Callable[[int], None],
        tip: Callable[[int], str],
    ) -> None:
        qt.QObject.__init__(self)
        self._label = label
        self._frame_at = frame_at
        self._go = go
        self._tip = tip
        label.setMouseTracking(True)
        label.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Handle an event of the label; called by Qt."""
        kind = event.type()
        pressed, moved = qt.QEvent.MouseButtonPress, qt.QEvent.MouseMove
        if kind not in (pressed, moved):
            return False
        position = event.position() if hasattr(event, "position") else event.pos()  # Qt 6, Qt 5
        frame = self._frame_at(int(position.x()), int(position.y()))
        if frame is None:
            return False
        if kind == pressed or event.buttons() == qt.Qt.LeftButton:
            self._go(frame)
        else:
            self._label.setToolTip(self._tip(frame))
        return True


class Shortcuts:
    """Keyboard shortcuts that are active while the module is open.

    Args:
        window: Slicer's main window.
        keys: key in Qt notation by action.
        run: called with the name of the action.
    """

    def __init__(self, window: Any, keys: dict[str, str], run: Callable[[str], None]) -> None:
        self._window = window
        self._keys = keys
        self._run = run
        self._shortcuts: list[Any] = []

    @property
    def installed(self) -> bool:
        """Whether the shortcuts are active."""
        return bool(self._shortcuts)

    def change(self, keys: dict[str, str]) -> None:
        """Use other keys."""
        active = self.installed
        self.remove()
        self._keys = keys
        if active:
            self.install()

    def install(self) -> None:
        """Activate the shortcuts."""
        if self._shortcuts or self._window is None:
            return
        for name, key in self._keys.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), self._window)
            shortcut.activated.connect(lambda name=name: self._run(name))
            self._shortcuts.append(shortcut)

    def remove(self) -> None:
        """Deactivate the shortcuts."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []
