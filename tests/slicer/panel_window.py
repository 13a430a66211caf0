"""The module's window with an open case and no server, driven by real keys and clicks (PySide6, offscreen)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.journal import Journals
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtTest import QTest
from slice_view import Mrml
from stand_ins import FakeSlicer
from workspaces import a_sweep


class Window:
    """The module's window with an open case, no server."""

    def __init__(self, folder: Path) -> None:
        self.mrml = Mrml()
        self.fake = FakeSlicer(self.mrml, folder)
        import FetalIQA

        self.module = FetalIQA.FetalIQAWidget(self.fake.holder)
        self.module.setup()
        self.fake.window.resize(420, 900)
        self.fake.window.show()
        assert QTest.qWaitForWindowActive(self.fake.window, 5000)
        self.module.enter()
        self.workspace = self.module.logic.workspace
        self.workspace.journals = Journals(folder, "http://none")
        self.ui = self.module.ui
        self.put(a_sweep())

    def put(self, sweep: Any) -> None:
        self.workspace.controller.annotation = CaseAnnotation(sweep, "anna")
        self.workspace.controller.position = 15
        self.workspace.session.notify("case")
        self.fake.process()

    @property
    def annotation(self) -> CaseAnnotation:
        return self.workspace.controller.annotation

    def manager(self) -> Any:
        """The stand-in of Slicer's layout manager."""
        import slicer

        return slicer.app.layoutManager()

    def views(self) -> Any:
        """The slice views by name."""
        return self.manager().slices

    def press(self, key: str) -> None:
        """A key, as the user presses it, in the main window."""
        QTest.keySequence(self.fake.window, QKeySequence(key))
        self.fake.process()

    def click(self, name: str) -> None:
        QTest.mouseClick(getattr(self.ui, name), Qt.MouseButton.LeftButton)
        self.fake.process()

    def close(self) -> None:
        """Destroy the window."""
        self.module.cleanup()
        self.fake.window.close()
        self.fake.window.deleteLater()
        self.fake.process()
