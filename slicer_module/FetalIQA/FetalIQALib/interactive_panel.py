"""Buttons and keys of the interactive model: correct by clicks, carry along."""

from __future__ import annotations

from typing import Any

import qt

from FetalIQALib.carry_along import carried_frames
from FetalIQALib.click_tool import ClickTool
from FetalIQALib.main_panel import MainPanel
from FetalIQALib.qt_helpers import Shortcuts
from FetalIQALib.translation import _


def add_buttons(ui: Any) -> None:
    """Add the buttons to the panel's widgets, before the panel connects them."""
    ui.carryFrame.setVisible(False)  # one row is enough
    for name, text in (
        ("click", _("Click")),
        ("carry", _("Carry along")),
        ("confirmCarried", _("Confirm carried")),
    ):
        button = qt.QPushButton(text)
        button.setObjectName(f"{name}Button")
        button.setCheckable(name == "click")
        ui.clickFrame.layout().addWidget(button)
        setattr(ui, f"{name}Button", button)


class InteractivePanel:
    """Adds the tools of the interactive model to the panel.

    Args:
        panel: the main part of the panel.
        tool: takes the clicks.
        editor: the Segment Editor, which pauses while clicks are taken.
    """

    def __init__(self, panel: MainPanel, tool: ClickTool, editor: Any) -> None:
        self.panel = panel
        self.tool = tool
        self.workspace = panel.workspace
        self.ui = panel.ui
        self._editor = editor
        self._escape = Shortcuts(panel.window, {"end": "Esc"}, lambda name: self.stop())
        tool.switched = self._switched
        actions = panel.actions
        actions.add("click", self._toggle)
        actions.add("ellipse", self._start_ellipse)
        actions.add("clear", self._clear)
        editor.on_effect(self.workspace.clicks.stop)
        self.workspace.session.add_listener(self._on_change)
        self._on_change("connection")

    def stop(self) -> None:
        """End the tool when the module is left."""
        self.workspace.clicks.stop()

    # -- actions ------------------------------------------------------------------------------------

    def _toggle(self) -> None:
        self.panel.scene.cancel_ellipse()
        self.tool.toggle()
        self.ui.clickButton.setChecked(self.workspace.clicks.active)

    def _start_ellipse(self) -> None:
        self.workspace.clicks.stop()
        self.panel.scene.start_ellipse()

    def _clear(self) -> object:
        return (
            self.panel.scene.cancel_ellipse() or self.workspace.clicks.stop() or self.panel.actions.clear_label()
        )

    # -- display ------------------------------------------------------------------------------------

    def _switched(self, on: bool) -> None:
        self.ui.clickButton.setChecked(on)
        if on:
            self._editor.pause()  # its effects and Esc would take the mouse and the key
            self._escape.install()
        else:
            self._escape.remove()
            if self.panel.keys.installed:
                self._editor.resume()

    def _on_change(self, topic: str) -> None:
        if topic not in ("connection", "case", "frames", "position"):
            return
        session, annotation = self.workspace.session, self.workspace.controller.annotation
        offered = session.info is not None and bool(session.info.interactive)
        is_open = annotation is not None
        self.ui.clickButton.setEnabled(is_open and offered)
        has_mask = annotation is not None and annotation.frame(self.workspace.controller.position).mask is not None
        self.ui.carryButton.setEnabled(has_mask and offered)
        self.ui.confirmCarriedButton.setEnabled(annotation is not None and bool(carried_frames(annotation.frames)))
