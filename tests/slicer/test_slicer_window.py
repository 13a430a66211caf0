"""The window in real Qt (PySide6, offscreen) on real MRML, driven by real keys and clicks.

The widgets of Slicer itself are stand-ins (stand_ins.py): what passes here says nothing about PythonQt.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "slicer", reason="slicer-core cannot be imported: pip install -e '.[dev]'", exc_type=ImportError
)
pytest.importorskip("PySide6", reason="PySide6 cannot be imported: pip install -e '.[dev]'", exc_type=ImportError)

from FetalIQALib.client_errors import InvalidAction
from FetalIQALib.frame_annotations import ANNOTATED, EMPTY
from FetalIQALib.frame_masks import Mask
from FetalIQALib.journal import JournalFile, Journals
from FetalIQALib.label_submission import ConflictingVersion
from FetalIQALib.quality_strip import columns_of
from FetalIQALib.server_responses import ServerInfo
from FetalIQALib.user_actions import EDITOR_KEYS, all_actions
from FetalIQALib.worklist import WorklistRow
from panel_window import Window
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtTest import QTest
from stand_ins import HEADER_HEIGHT, PlotWidget, segment_editor_shortcuts
from workspaces import a_sweep, ellipse_mask, settle


def test_keys_label(window: Window) -> None:
    window.press("D")
    assert window.annotation.frame(15).state == ANNOTATED
    window.press("O")
    assert window.annotation.frame(15).plane == "optimal"
    window.press("C")
    assert (window.workspace.controller.position, window.annotation.frame(16).state) == (16, ANNOTATED)
    window.press("PgDown")
    window.press("E")
    assert (window.workspace.controller.position, window.annotation.frame(17).state) == (17, EMPTY)
    window.press("U")
    assert window.annotation.frame(17).state == "untouched"
    window.press("U")
    assert (window.workspace.controller.position, sorted(window.annotation.frames)) == (16, [15])
    window.press("Shift+U")
    assert sorted(window.annotation.frames) == [15, 16]
    window.press("PgUp")
    window.press("Del")
    assert sorted(window.annotation.frames) == [16]


def test_keys_navigate(window: Window) -> None:
    window.press("L")
    assert window.workspace.controller.position == 25
    window.press("J")
    window.press("J")
    assert window.workspace.controller.position == 5
    window.press("N")
    assert window.workspace.controller.position == 9  # the next one of the ranking
    window.press("Home")
    assert window.workspace.controller.position == 15
    window.press("Shift+N")
    assert window.workspace.controller.position == 9
    assert window.annotation.frames == {}


def test_no_key_is_taken_twice_or_from_the_segment_editor() -> None:
    actions = all_actions()
    keys = [action.key for action in actions]
    assert len({*keys}) == len(keys)
    assert not {*keys} & {*EDITOR_KEYS}
    assert all(not QKeySequence(key).isEmpty() for key in keys)


def test_the_list_of_the_editors_keys_has_all_its_shortcuts(window: Window) -> None:
    known = [QKeySequence(key) for key in EDITOR_KEYS]
    assert [key.toString() for key in segment_editor_shortcuts() if key not in known] == []


def test_every_key_works_beside_the_segment_editors_shortcuts(window: Window) -> None:
    """Two shortcuts with one key on one window are ambiguous, and neither is activated."""
    pressed: list[str] = []
    window.module.panel.keys._run = pressed.append
    assert window.module.editor.widget.shortcuts
    for action in all_actions():
        window.press(action.key)
    assert pressed == [action.name for action in all_actions()]


def test_the_table_of_the_documentation_has_every_key_and_no_other() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "slicer.md").read_text(encoding="utf-8")
    table = [line for line in page.split("## Keys")[1].split("\n## ")[0].splitlines() if line.startswith("|")]
    cells = [line.split("|")[column] for line in table for column in (1, 3)]
    documented = [key for cell in cells for key in re.findall("`([^`]+)`", cell)]
    assert sorted(documented) == sorted(action.key for action in all_actions())


def test_every_action_does_something_and_is_in_the_table(window: Window) -> None:
    table = window.ui.keyTable
    shown = [table.item(row, 0).text() for row in range(table.rowCount())]
    assert shown == [action.key for action in all_actions()]
    for action in all_actions():
        window.module.panel.actions.run(action.name)  # none is missing
    settle(window.workspace)
    window.module.panel.playback.pause()


def test_keys_are_active_only_inside_the_module(window: Window) -> None:
    window.module.exit()
    window.press("D")
    assert window.annotation.frames == {}
    window.module.enter()
    window.press("D")
    assert sorted(window.annotation.frames) == [15]
    window.module.enter()  # twice is once
    window.press("PgDown")
    assert window.workspace.controller.position == 16


def test_typing_a_name_labels_nothing(window: Window) -> None:
    window.ui.connectionSection.setProperty("collapsed", False)
    window.ui.raterEdit.setFocus()
    window.fake.process()
    QTest.keyClicks(window.ui.raterEdit, "dee")
    assert window.ui.raterEdit.text() == "dee"
    assert window.annotation.frames == {}


def test_buttons_do_what_their_keys_do(window: Window) -> None:
    window.click("acceptButton")
    window.click("suboptimalButton")
    assert (window.annotation.frame(15).state, window.annotation.frame(15).plane) == (ANNOTATED, "suboptimal")
    assert "(D)" in window.ui.acceptButton.toolTip()
    window.click("undoButton")
    assert window.annotation.frame(15).plane is None
    window.click("nextButton")
    window.click("emptyButton")
    assert window.annotation.frame(16).state == EMPTY


def test_texts_of_the_window(window: Window) -> None:
    assert "Frame 15 (0 to 29)" in window.ui.frameLabel.text()
    assert "demo" in window.ui.annotationLabel.text()
    assert window.ui.measureLabel.text().endswith("mm (proposed)")
    window.press("D")
    proposed = window.ui.annotationLabel.text()
    assert "demo" not in proposed
    assert window.ui.measureLabel.text().startswith("AC ")
    assert "1 outlined" in window.ui.caseLabel.text()
    assert "case_a" in window.ui.positionLabel.text()
    window.workspace.controller.go_to(2)
    assert "demo" not in window.ui.annotationLabel.text()
    window.press("D")
    assert type(window.workspace.session.status.error) is InvalidAction
    assert window.ui.statusLabel.text() == window.workspace.session.status.text


def test_strip_and_slider_go_to_the_frame(window: Window) -> None:
    strip = window.ui.stripLabel
    window.module.panel.tick()
    assert strip.pixmap().width() == strip.width()
    edges = columns_of(30, strip.width())
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(int(edges[7]) + 1, 30))
    assert window.workspace.controller.position == 7
    assert window.ui.frameSlider.value() == 7
    window.ui.frameSlider.setValue(21)
    assert window.workspace.controller.position == 21
    assert window.annotation.frames == {}


def test_playback_changes_the_frame_and_labels_nothing(window: Window) -> None:
    window.press("K")
    assert window.module.panel.playback.playing
    QTest.qWait(400)
    window.press("K")
    assert not window.module.panel.playback.playing
    assert window.workspace.controller.position > 15
    assert window.annotation.frames == {}


def test_a_stroke_is_stored_by_the_timer(window: Window) -> None:
    overlay = window.module.logic.scene.overlay
    segment = overlay.human.GetSegmentation().GetSegment("abdomen")
    segment.GetRepresentation("Binary labelmap").ShallowCopy(overlay._image(ellipse_mask()))
    segment.Modified()
    QTest.qWait(200)
    assert np.array_equal(window.annotation.masks()[15].full(), ellipse_mask())


def test_the_segment_editor_edits_our_mask_and_undoes_nothing_itself(window: Window) -> None:
    told = window.module.editor.widget.told
    assert told["setMaximumNumberOfUndoStates"] == 0
    assert told["setSegmentationNode"] is window.module.logic.scene.overlay.human
    assert told["setCurrentSegmentID"] == "abdomen"
    assert told["setAddRemoveSegmentButtonsVisible"] is False
    assert told["setShow3DButtonVisible"] is False
    window.module.exit()
    assert told["uninstallKeyboardShortcuts"]
    assert told["setActiveEffect"] is None


def test_the_key_del_cancels_an_ellipse_before_it_clears_a_label(window: Window) -> None:
    window.press("D")
    window.press("Shift+E")
    assert window.module.logic.scene.tool.active
    window.press("Del")
    assert not window.module.logic.scene.tool.active
    assert sorted(window.annotation.frames) == [15]
    window.press("Del")
    assert window.annotation.frames == {}


def test_resume_and_conflict_are_offered_without_a_dialog(window: Window) -> None:
    controller = window.workspace.controller
    assert not window.ui.resumeFrame.isVisible()
    other = Journals(window.workspace.folder, "http://none")
    other.folder = window.workspace.journals.folder
    window.press("D")
    controller.autosave.offered = [window.workspace.journals.path("case_a", "final")]
    window.workspace.session.notify("saved_work")
    assert window.ui.resumeFrame.isVisible()
    assert window.ui.resumeButton.isVisible()
    assert window.ui.resumeLabel.text()
    window.click("dismissButton")
    assert not window.ui.resumeFrame.isVisible()
    controller.autosave.others = [JournalFile(Path("of-ben"), "ben", False)]
    window.workspace.session.notify("saved_work")
    assert "ben" in window.ui.resumeLabel.text()
    assert not window.ui.resumeButton.isVisible()
    assert window.ui.dismissButton.isVisible()
    window.click("dismissButton")
    assert not window.ui.resumeFrame.isVisible()
    mask = Mask.of(ellipse_mask())
    annotation = window.annotation
    controller.conflict = ConflictingVersion("somebody saved", 4, {}, "ben")
    window.workspace.session.notify("conflict")
    assert window.ui.conflictFrame.isVisible()
    assert "ben" in window.ui.conflictLabel.text()
    assert "version 4" in window.ui.conflictLabel.text()
    window.click("theirsButton")
    assert not window.ui.conflictFrame.isVisible()
    assert (annotation.frames, annotation.based_on) == ({}, 4)
    assert mask is not None


def test_the_panel_fits_a_small_screen(window: Window) -> None:
    """1366 x 768: the panel may take a third of the width, and work on a case needs no scrolling."""
    inner = window.fake.scroll.widget()
    assert inner.minimumSizeHint().width() <= 455
    window.ui.connectionSection.setProperty("collapsed", True)
    window.fake.process()
    assert window.ui.casesSection.property("collapsed")

    def bottom(name: str) -> int:
        widget = getattr(window.ui, name)
        return widget.mapTo(inner, QPoint(0, widget.height())).y()

    assert window.ui.helpSection.height() >= HEADER_HEIGHT
    assert bottom("submitButton") < 640 - 60  # of 768, what Slicer's own bars leave; 60 for two more rows of tools
    order = ["nextCaseButton", "stripLabel", "acceptButton", "brushButton", "submitButton", "casesSection"]
    assert sorted(order, key=bottom) == order
    assert bottom("brushButton") - bottom("acceptButton") < 100  # brush and decisions together


def test_a_click_on_the_plot_goes_to_the_frame_also_after_reload(tmp_path: Path) -> None:
    plot = PlotWidget()
    for frame in (7, 21):  # the second time is after Reload: another module, the same view
        window = Window(tmp_path)
        import slicer

        slicer.app.layoutManager().plot = plot
        for _show_hide_show in range(3):
            window.ui.plotButton.click()
        plot.click(frame)
        assert window.workspace.controller.position == frame
        assert len(plot.slots) == 1
        window.module.cleanup()
        window.fake.window.close()
        window.fake.process()
    assert plot.slots == []


def test_the_list_is_exported_as_it_is_filtered(window: Window, tmp_path: Path, monkeypatch: Any) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(window.workspace.server_export, "start", lambda *values: asked.append(values))
    window.workspace.worklist.rows = [
        WorklistRow("one", ".mha", tags=("final",)),
        WorklistRow("two", ".mha", tags=("final",)),
    ]
    window.workspace.session.notify("worklist")
    window.ui.exportSection.setProperty("collapsed", False)
    window.ui.filterEdit.setText("tw")
    window.fake.process()
    window.ui.exportListButton.click()
    assert asked == []
    assert "folder" in window.ui.statusLabel.text()
    window.ui.folderEdit.setText(str(tmp_path))
    window.ui.exportFormatCombo.setCurrentText("nnunet")
    window.ui.exportListButton.click()
    [(rows, folder, chosen)] = asked
    assert ([row.case for row in rows], folder, chosen) == (["two"], tmp_path, "nnunet")


def test_the_projects_strategy_is_chosen_first_and_the_users_choice_stays(window: Window) -> None:
    combo, session = window.ui.strategyCombo, window.workspace.session
    session.info = ServerInfo("F", "1", {}, ("random", "fetaliqa", "strided"), {}, {})
    session.notify("connection")
    assert combo.currentText() == "fetaliqa"
    combo.setCurrentText("strided")
    session.notify("connection")  # as after every failure
    assert combo.currentText() == "strided"
    session.info = ServerInfo("F", "1", {}, ("random",), {}, {})
    session.notify("connection")
    assert combo.currentText() == "random"


def test_settings_are_remembered_but_never_the_token(window: Window, tmp_path: Path) -> None:
    window.ui.addressEdit.setText("http://127.0.0.1:9")
    window.ui.tokenEdit.setText("secret")
    window.workspace.session.online = True
    window.workspace.session.notify("connection")
    import slicer

    settings = slicer.app.userSettings()
    settings.sync()
    assert settings.value("FetalIQA/address") == "http://127.0.0.1:9"
    assert "secret" not in Path(slicer.app.slicerUserSettingsFilePath).read_text()


def test_closing_the_scene_and_the_module_keeps_the_work(window: Window) -> None:
    window.press("D")
    window.mrml.scene.Clear(0)
    window.fake.process()
    assert window.workspace.controller.annotation is None
    assert "case_a" in window.ui.statusLabel.text()
    assert window.workspace.journals.path("case_a", "final").exists()
    window.put(a_sweep())
    window.press("E")
    window.module.cleanup()
    assert '"15"' in window.workspace.journals.path("case_a", "final").read_text()


def test_the_self_test_of_reload_and_test_passes(window: Window) -> None:
    import FetalIQA

    test = FetalIQA.FetalIQATest()
    window.workspace.controller.close()
    test.runTest()
    assert "FetalIQA" in test.told


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
