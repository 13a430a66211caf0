"""The window in real Qt (PySide6, offscreen) on real MRML, driven by real keys and clicks.

The widgets of Slicer itself are stand-ins (stand_ins.py): what passes here says nothing about PythonQt.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "slicer", reason="slicer-core cannot be imported: pip install -e '.[dev]'", exc_type=ImportError
)
pytest.importorskip("PySide6", reason="PySide6 cannot be imported: pip install -e '.[dev]'", exc_type=ImportError)

import vtk
from FetalIQALib.actions import EDITOR_KEYS, all_actions
from FetalIQALib.casework import CaseWork
from FetalIQALib.decisions import ANNOTATED, EMPTY
from FetalIQALib.journal import Found, Journals
from FetalIQALib.masks import Mask
from FetalIQALib.replies import ServerInfo
from FetalIQALib.strip import columns_of
from FetalIQALib.submitting import Conflicting
from FetalIQALib.worklist import Row
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtTest import QTest
from slice_view import Mrml
from stand_ins import FakeSlicer
from workplaces import a_sweep, ellipse_mask, settle


class Window:
    """The module's window with a case on the desk, no server."""

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
        self.place = self.module.logic.place
        self.place.journals = Journals(folder, "http://none")
        self.ui = self.module.ui
        self.put(a_sweep())

    def put(self, sweep: Any) -> None:
        self.place.desk.work = CaseWork(sweep, "anna")
        self.place.desk.position = 15
        self.place.hub.tell("case")
        self.fake.process()

    @property
    def work(self) -> CaseWork:
        return self.place.desk.work

    def press(self, key: str) -> None:
        """A key, as the user presses it, in the main window."""
        QTest.keySequence(self.fake.window, QKeySequence(key))
        self.fake.process()

    def click(self, name: str) -> None:
        QTest.mouseClick(getattr(self.ui, name), Qt.MouseButton.LeftButton)
        self.fake.process()


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Window]:
    made = Window(tmp_path)
    yield made
    made.module.cleanup()
    made.fake.window.close()
    made.fake.window.deleteLater()
    made.fake.process()


def test_keys_decide(window: Window) -> None:
    window.press("D")
    assert window.work.frame(15).state == ANNOTATED
    window.press("O")
    assert window.work.frame(15).plane == "optimal"
    window.press("C")
    assert (window.place.desk.position, window.work.frame(16).state) == (16, ANNOTATED)
    window.press(".")
    window.press("E")
    assert (window.place.desk.position, window.work.frame(17).state) == (17, EMPTY)
    window.press("U")
    assert window.work.frame(17).state == "untouched"
    window.press("U")
    assert (window.place.desk.position, sorted(window.work.frames)) == (16, [15])
    window.press("Shift+U")
    assert sorted(window.work.frames) == [15, 16]
    window.press(",")
    window.press("Del")
    assert sorted(window.work.frames) == [16]


def test_keys_walk(window: Window) -> None:
    window.press("L")
    assert window.place.desk.position == 25
    window.press("J")
    window.press("J")
    assert window.place.desk.position == 5
    window.press("N")
    assert window.place.desk.position == 9  # the next one of the ranking
    window.press("Home")
    assert window.place.desk.position == 15
    window.press("Shift+N")
    assert window.place.desk.position == 9
    assert window.work.frames == {}


def test_no_key_is_taken_twice_or_from_the_segment_editor() -> None:
    actions = all_actions()
    keys = [action.key for action in actions]
    assert len({*keys}) == len(keys)
    assert not {*keys} & {*EDITOR_KEYS}
    assert all(not QKeySequence(key).isEmpty() for key in keys)


def test_every_action_does_something_and_is_in_the_table(window: Window) -> None:
    table = window.ui.keyTable
    shown = [table.item(row, 0).text() for row in range(table.rowCount())]
    assert shown == [action.key for action in all_actions()]
    for action in all_actions():
        window.module.panel.actions.run(action.name)  # none is missing
    settle(window.place)
    window.module.panel.pause()


def test_keys_live_only_inside_the_module(window: Window) -> None:
    window.module.exit()
    window.press("D")
    assert window.work.frames == {}
    window.module.enter()
    window.press("D")
    assert sorted(window.work.frames) == [15]
    window.module.enter()  # twice is once
    window.press(".")
    assert window.place.desk.position == 16


def test_typing_a_name_is_no_decision(window: Window) -> None:
    window.ui.connectionSection.setProperty("collapsed", False)
    window.ui.raterEdit.setFocus()
    window.fake.process()
    QTest.keyClicks(window.ui.raterEdit, "dee")
    assert window.ui.raterEdit.text() == "dee"
    assert window.work.frames == {}


def test_buttons_do_what_their_keys_do(window: Window) -> None:
    window.click("acceptButton")
    window.click("suboptimalButton")
    assert (window.work.frame(15).state, window.work.frame(15).plane) == (ANNOTATED, "suboptimal")
    assert "(D)" in window.ui.acceptButton.toolTip()
    window.click("undoButton")
    assert window.work.frame(15).plane is None
    window.click("nextButton")
    window.click("emptyButton")
    assert window.work.frame(16).state == EMPTY


def test_what_the_window_says(window: Window) -> None:
    assert "Frame 15 (0 to 29)" in window.ui.frameLabel.text()
    assert "proposal of demo" in window.ui.decisionLabel.text()
    assert window.ui.measureLabel.text().endswith("mm (proposed)")
    window.press("D")
    assert "Your mask" in window.ui.decisionLabel.text()
    assert window.ui.measureLabel.text().startswith("AC ")
    assert "1 outlined" in window.ui.caseLabel.text()
    assert "not submitted" in window.ui.caseLabel.text()
    window.place.desk.go_to(2)
    assert "nothing proposed" in window.ui.decisionLabel.text()
    window.press("D")
    assert "Nothing is proposed" in window.ui.statusLabel.text()


def test_strip_and_slider_go_to_the_frame(window: Window) -> None:
    strip = window.ui.stripLabel
    window.module.panel.tick()
    assert strip.pixmap().width() == strip.width()
    edges = columns_of(30, strip.width())
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(int(edges[7]) + 1, 30))
    assert window.place.desk.position == 7
    assert window.ui.frameSlider.value() == 7
    window.ui.frameSlider.setValue(21)
    assert window.place.desk.position == 21
    assert window.work.frames == {}


def test_playing_walks_and_decides_nothing(window: Window) -> None:
    window.press("K")
    assert window.module.panel.playing
    QTest.qWait(400)
    window.press("K")
    assert not window.module.panel.playing
    assert window.place.desk.position > 15
    assert window.work.frames == {}


def test_a_stroke_is_taken_over_by_the_timer(window: Window) -> None:
    overlay = window.module.logic.scene.overlay
    segment = overlay.human.GetSegmentation().GetSegment("abdomen")
    segment.GetRepresentation("Binary labelmap").ShallowCopy(overlay._image(ellipse_mask()))
    segment.Modified()
    QTest.qWait(200)
    assert np.array_equal(window.work.masks()[15].full(), ellipse_mask())


def test_the_segment_editor_edits_our_mask_and_undoes_nothing_itself(window: Window) -> None:
    told = window.module.editor.widget.told
    assert told["setMaximumNumberOfUndoStates"] == 0
    assert told["setSegmentationNode"] is window.module.logic.scene.overlay.human
    assert told["setCurrentSegmentID"] == "abdomen"
    window.module.exit()
    assert told["uninstallKeyboardShortcuts"]
    assert told["setActiveEffect"] is None


def test_resume_and_conflict_are_offered_without_a_dialog(window: Window) -> None:
    desk = window.place.desk
    assert not window.ui.resumeFrame.isVisible()
    other = Journals(window.place.folder, "http://none")
    other.folder = window.place.journals.folder
    window.press("D")
    desk.keeper.offered = [window.place.journals.path("case_a", "final")]
    window.place.hub.tell("kept")
    assert window.ui.resumeFrame.isVisible()
    assert window.ui.resumeButton.isVisible()
    assert "yours" in window.ui.resumeLabel.text()
    window.click("dismissButton")
    assert not window.ui.resumeFrame.isVisible()
    desk.keeper.others = [Found(Path("of-ben"), "ben", False)]
    window.place.hub.tell("kept")
    assert window.ui.resumeLabel.text() == "Unsubmitted work of ben on this case is kept for them."
    assert not window.ui.resumeButton.isVisible()
    assert window.ui.dismissButton.text() == "OK"
    window.click("dismissButton")
    assert not window.ui.resumeFrame.isVisible()
    mask = Mask.of(ellipse_mask())
    work = window.work
    desk.conflict = Conflicting("somebody saved", 4, {}, "ben")
    window.place.hub.tell("conflict")
    assert window.ui.conflictFrame.isVisible()
    assert "ben saved version 4" in window.ui.conflictLabel.text()
    window.click("theirsButton")
    assert not window.ui.conflictFrame.isVisible()
    assert (work.frames, work.based_on) == ({}, 4)
    assert mask is not None


def test_the_panel_fits_a_small_screen(window: Window) -> None:
    """1366 x 768: the panel may take a third of the width, and work on a case needs no scrolling."""
    inner = window.fake.scroll.widget()
    assert inner.minimumSizeHint().width() <= 455
    window.ui.connectionSection.setProperty("collapsed", True)
    window.fake.process()
    assert window.ui.casesSection.property("collapsed")
    below = window.ui.submitButton.mapTo(inner, QPoint(0, window.ui.submitButton.height())).y()
    assert below < 640  # of 768, what Slicer's own bars leave


class PlotWidget:
    """Slicer's plot view, which stays when the module is reloaded."""

    def __init__(self) -> None:
        self.slots: list[Any] = []
        self.properties: dict[str, Any] = {}

    def plotView(self) -> PlotWidget:
        return self

    def property(self, name: str) -> Any:
        return self.properties.get(name)

    def setProperty(self, name: str, value: Any) -> None:
        self.properties[name] = value

    def connect(self, signal: str, slot: Any) -> None:
        self.slots.append(slot)

    def disconnect(self, signal: str, slot: Any) -> None:
        self.slots.remove(slot)

    def click(self, point: int) -> None:
        points, ids = vtk.vtkCollection(), vtk.vtkIdTypeArray()
        ids.InsertNextValue(point)
        points.AddItem(ids)
        for slot in list(self.slots):
            slot(None, points)


def test_a_click_on_the_plot_goes_to_the_frame_also_after_reload(tmp_path: Path) -> None:
    plot = PlotWidget()
    for frame in (7, 21):  # the second time is after Reload: another module, the same view
        window = Window(tmp_path)
        import slicer

        slicer.app.layoutManager().plotWidget = lambda number: plot
        window.click("plotButton")
        window.click("plotButton")
        plot.click(frame)
        assert window.place.desk.position == frame
        assert len(plot.slots) == 1
        window.module.cleanup()
        window.fake.window.close()
        window.fake.process()
    assert plot.slots == []


def test_the_list_is_exported_as_it_is_filtered(window: Window, tmp_path: Path, monkeypatch: Any) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(window.place.list_export, "start", lambda *values: asked.append(values))
    window.place.worklist.rows = [Row("one", ".mha", tags=("final",)), Row("two", ".mha", tags=("final",))]
    window.place.hub.tell("worklist")
    window.ui.exportSection.setProperty("collapsed", False)
    window.ui.filterEdit.setText("tw")
    window.fake.process()
    window.ui.exportListButton.click()
    assert asked == []
    assert "Name a folder" in window.ui.statusLabel.text()
    window.ui.folderEdit.setText(str(tmp_path))
    window.ui.exportFormatCombo.setCurrentText("nnunet")
    window.ui.exportListButton.click()
    [(rows, folder, chosen)] = asked
    assert ([row.case for row in rows], folder, chosen) == (["two"], tmp_path, "nnunet")


def test_the_projects_strategy_is_chosen_first_and_the_users_choice_stays(window: Window) -> None:
    combo, hub = window.ui.strategyCombo, window.place.hub
    hub.info = ServerInfo("F", "1", {}, ("random", "fetaliqa", "strided"), {}, {})
    hub.tell("connection")
    assert combo.currentText() == "fetaliqa"
    combo.setCurrentText("strided")
    hub.tell("connection")  # as after every failure
    assert combo.currentText() == "strided"
    hub.info = ServerInfo("F", "1", {}, ("random",), {}, {})
    hub.tell("connection")
    assert combo.currentText() == "random"


def test_settings_are_remembered_but_never_the_token(window: Window, tmp_path: Path) -> None:
    window.ui.addressEdit.setText("http://127.0.0.1:9")
    window.ui.tokenEdit.setText("secret")
    window.place.hub.online = True
    window.place.hub.tell("connection")
    import slicer

    settings = slicer.app.userSettings()
    settings.sync()
    assert settings.value("FetalIQA/address") == "http://127.0.0.1:9"
    assert "secret" not in Path(slicer.app.slicerUserSettingsFilePath).read_text()


def test_closing_the_scene_and_the_module_keeps_the_work(window: Window) -> None:
    window.press("D")
    window.mrml.scene.Clear(0)
    window.fake.process()
    assert window.place.desk.work is None
    assert "kept" in window.ui.statusLabel.text()
    assert window.place.journals.path("case_a", "final").exists()
    window.put(a_sweep())
    window.press("E")
    window.module.cleanup()
    assert '"15"' in window.place.journals.path("case_a", "final").read_text()


def test_the_self_test_of_reload_and_test_passes(window: Window) -> None:
    import FetalIQA

    test = FetalIQA.FetalIQATest()
    window.place.desk.close()
    test.runTest()
    assert "as promised" in test.told


def test_the_sample_data_is_registered_with_its_checksum(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib
    import sys
    from urllib.request import url2pathname

    import FetalIQA

    told: dict[str, Any] = {}
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **values: told.update(values))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    FetalIQA.register_sample_data()
    content = Path(url2pathname(told["uris"][len("file://") :])).read_bytes()
    assert told["checksums"] == f"SHA256:{hashlib.sha256(content).hexdigest()}"
    assert Path(told["thumbnailFileName"]).is_file()
