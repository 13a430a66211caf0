"""The panel at work: themes, messages, window/level, playback, comments, keys of the user, tools, download."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "slicer", reason="slicer-core cannot be imported: pip install -e '.[dev]'", exc_type=ImportError
)
pytest.importorskip("PySide6", reason="PySide6 cannot be imported: pip install -e '.[dev]'", exc_type=ImportError)

from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.client_errors import InvalidAction
from FetalIQALib.image_sequence import PRESETS
from FetalIQALib.journal import read_journal
from FetalIQALib.quality_strip import OVERVIEW, columns_of
from FetalIQALib.theme_colours import contrast
from panel_window import Window
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QPalette
from PySide6.QtTest import QTest
from stand_ins import theme
from workspaces import a_sweep

COLOUR = re.compile(r"color:\s*#([0-9a-f]{6})")


@pytest.fixture(params=["light", "dark"])
def themed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Window]:
    made = Window(tmp_path)
    before = made.fake.application.palette()
    made.fake.application.setPalette(theme(request.param))
    made.fake.process()
    made.workspace.session.notify("case")
    yield made
    made.fake.application.setPalette(before)
    made.close()


def colour_of(text: str) -> tuple[int, int, int]:
    [digits] = COLOUR.findall(text)
    colour = QColor(f"#{digits}")
    return (colour.red(), colour.green(), colour.blue())


def of_palette(widget: Any, role: QPalette.ColorRole) -> tuple[int, int, int]:
    colour = widget.palette().color(role)
    return (colour.red(), colour.green(), colour.blue())


# -- contrast ---------------------------------------------------------------------------------------


def test_texts_and_marks_have_the_contrast_of_wcag_in_both_themes(themed: Window) -> None:
    session, ui = themed.workspace.session, themed.ui
    background = of_palette(ui.statusLabel, QPalette.ColorRole.Window)
    assert contrast(of_palette(ui.frameLabel, QPalette.ColorRole.WindowText), background) >= 4.5
    for kind in ("busy", "problem"):
        session.show_status("text", kind)
        assert contrast(colour_of(ui.statusLabel.styleSheet()), background) >= 4.5, kind
    session.show_status("text")
    assert "color" not in ui.statusLabel.styleSheet()  # the palette's own
    marks = set()
    for key, frame in (("", 15), ("D", 15), ("E", 16)):
        themed.workspace.controller.go_to(frame)
        if key:
            themed.press(key)
        marks.add(colour_of(ui.annotationLabel.text()))
        assert contrast(colour_of(ui.annotationLabel.text()), background) >= 3
    assert len(marks) == 3
    assert not COLOUR.findall(Path(themed.module.resourcePath("UI/FetalIQA.ui")).read_text())


# -- messages ---------------------------------------------------------------------------------------


def test_a_message_about_another_frame_does_not_stay(window: Window) -> None:
    status = window.ui.statusLabel
    window.press("D")
    assert "15" in status.text()
    window.press("PgDown")
    assert status.text() == ""
    window.workspace.controller.go_to(2)
    window.press("D")  # nothing is proposed
    assert status.text()
    window.press("PgDown")
    assert status.text() == ""
    window.press("U")  # of frame 15, which is shown
    assert ("15" in status.text(), window.workspace.controller.position) == (True, 15)
    window.press("D")
    window.press("C")  # the copy's frame is shown
    assert ("16" in status.text(), window.workspace.controller.position) == (True, 16)
    window.workspace.session.show_status("Submitting …", "busy")
    window.press("PgDown")
    assert status.text() == "Submitting …"


# -- window and level -------------------------------------------------------------------------------


def test_window_and_level_follow_the_mouse_and_stay_for_the_next_case(window: Window) -> None:
    frames, ui = window.module.logic.scene.frames, window.ui
    interaction = window.mrml.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    window.press("Shift+P")
    assert interaction.GetCurrentInteractionMode() == interaction.AdjustWindowLevel
    frames.volume.GetDisplayNode().SetWindowLevel(123.0, 45.0)  # Slicer's mouse mode
    window.module.panel.tick()
    assert ui.adjustButton.isChecked()
    assert (ui.windowLabel.text(), ui.windowCombo.currentIndex()) == ("123 / 45", len(PRESETS))
    window.press("PgDown")
    window.put(a_sweep(24))
    assert frames.window_level() == (123.0, 45.0)
    window.press("P")
    assert frames.window_level() == PRESETS[0][1:]
    window.module.exit()
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform


# -- playback ---------------------------------------------------------------------------------------


def test_playback_repeats_the_range_and_keeps_its_speed(window: Window) -> None:
    from FetalIQALib.playback import ALL, PAUSE, PLAY, RANGE, SWEEP

    playback, ui, controller = window.module.panel.playback, window.ui, window.workspace.controller
    sweep = replace(a_sweep(), padding=np.arange(30) >= 28)
    window.put(replace(sweep, assessment=replace(sweep.assessment, ranges=((0, 12), (12, 30)))))
    assert (ui.previousButton.text(), ui.playButton.text(), ui.nextButton.text()) == ("|◀", PLAY, "▶|")
    window.press("K")
    assert (ui.playButton.text(), playback.playing) == (PAUSE, True)
    window.press("K")
    ui.speedSpin.setValue(20)
    assert playback._timer.interval() == 50

    def played(start: int, steps: int) -> list[int]:
        controller.go_to(start)
        seen = []
        for _step in range(steps):
            playback.step()
            seen.append(controller.position)
        return seen

    ui.loopCombo.setCurrentIndex(ALL)
    assert played(26, 3) == [27, 0, 1]  # the others are padding
    ui.loopCombo.setCurrentIndex(SWEEP)
    assert played(10, 3) == [11, 0, 1]
    assert played(26, 2) == [27, 12]
    controller.go_to(14)
    window.press("Shift+PgUp")
    controller.go_to(16)
    window.press("Shift+PgDown")
    assert (ui.loopCombo.currentIndex(), playback.frames()) == (RANGE, (14, 16))
    assert played(15, 4) == [16, 14, 15, 16]
    assert played(3, 1) == [14]
    controller.go_to(5)
    window.press("Shift+PgDown")  # before the first: only the end is left
    assert playback.frames() == (0, 5)
    window.put(replace(a_sweep(24), case="case_b"))
    assert (playback.frames(), ui.loopCombo.currentIndex()) == ((0, 23), ALL)
    assert window.annotation.frames == {}


# -- strip ------------------------------------------------------------------------------------------


def test_many_frames_are_shown_sweep_by_sweep_and_every_one_can_be_clicked(window: Window) -> None:
    sweep = a_sweep(840, range(0))
    ranges = tuple((start, start + 140) for start in range(0, 840, 140))
    window.put(replace(sweep, assessment=replace(sweep.assessment, ranges=ranges)))
    strip, controller = window.ui.stripLabel, window.workspace.controller
    controller.go_to(300)
    window.module.panel.tick()
    assert window.ui.zoomCheck.isChecked()
    edges = columns_of(140, strip.width())
    assert np.diff(edges).min() >= 2
    for frame in (0, 77, 139):
        QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(int(edges[frame]), 30))
        assert controller.position == 280 + frame
    middle = OVERVIEW.start + 4
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(strip.width() - 6, middle))
    assert controller.position > 835  # all frames are at the bottom
    window.press("V")
    assert not window.ui.zoomCheck.isChecked()
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(8, 30))
    assert controller.position < 10
    assert window.annotation.frames == {}


# -- comments ---------------------------------------------------------------------------------------


def test_comments_belong_to_the_frame_they_were_typed_for(window: Window) -> None:
    ui, controller = window.ui, window.workspace.controller
    window.press("D")
    ui.frameCommentEdit.setFocus()
    QTest.keyClicks(ui.frameCommentEdit, "stomach  not visible")
    controller.go_to(3)  # the wheel, or a click on the strip, while typing
    assert ui.frameCommentEdit.text() == ""
    QTest.keyClicks(ui.frameCommentEdit, "shadow")
    QTest.keyClick(ui.frameCommentEdit, Qt.Key.Key_Return)
    ui.caseCommentEdit.setFocus()
    QTest.keyClicks(ui.caseCommentEdit, "twins?")
    QTest.keyClick(ui.caseCommentEdit, Qt.Key.Key_Return)
    entries = window.annotation.record()["frames"]
    assert entries["15"]["comment"] == "stomach not visible"
    assert (entries["3"]["state"], entries["3"]["comment"]) == ("proposed", "shadow")  # a comment confirms nothing
    assert not window.annotation.frame(3).labelled
    saved = read_journal(window.workspace.journals.path("case_a", "final"), 30)
    assert (saved.comment, saved.frames[3].comment, saved.frames[15].comment) == (
        "twins?",
        "shadow",
        "stomach not visible",
    )
    controller.go_to(15)
    assert ui.frameCommentEdit.text() == "stomach not visible"
    window.click("clearButton")
    assert window.annotation.frame(15).comment == "stomach not visible"
    for _step in range(2):
        window.click("undoButton")
    assert window.annotation.frame(3).comment == ""
    assert window.annotation.frame(15).labelled


def test_a_comment_that_is_still_typed_is_saved_when_the_module_is_left(window: Window) -> None:
    QTest.keyClicks(window.ui.frameCommentEdit, "half")
    window.module.exit()
    saved = read_journal(window.workspace.journals.path("case_a", "final"), 30)
    assert saved.frames[15].comment == "half"


# -- keys, tools, download --------------------------------------------------------------------------


def test_keys_are_the_users_own_and_conflicts_are_refused(window: Window, tmp_path: Path) -> None:
    ui, panel = window.ui, window.module.panel

    def assign(action: str, key: str) -> str:
        rows = [row for row in range(ui.keyTable.rowCount()) if ui.keyTable.item(row, 1).text() == action]
        ui.keyTable.selectRow(rows[0])
        ui.keyEdit.setText(key)
        ui.setKeyButton.click()
        return str(ui.statusLabel.text())

    before = panel.key_table.keys()
    refused = assign("accept the proposed mask", "e")
    assert "mark the frame as empty" in refused
    assert "Segment Editor" in assign("accept the proposed mask", "Space")
    assert "Slicer" in assign("accept the proposed mask", "ctrl+w")
    for nothing in ("", "Flurb", "A, B"):
        assert "not a key" in assign("accept the proposed mask", nothing)
    assert panel.key_table.keys() == before
    assign("accept the proposed mask", "shift+d")
    window.press("D")
    assert window.annotation.frames == {}
    window.press("Shift+D")
    assert sorted(window.annotation.frames) == [15]
    assert "⇧D" in ui.acceptButton.text()
    assert "Shift+D" in ui.acceptButton.toolTip()
    file = window.workspace.folder.parent / "keys.json"
    assert json.loads(file.read_text()) == {"accept": "Shift+D"}

    again = Window(tmp_path)
    assert again.module.panel.key_table.keys()["accept"] == "Shift+D"
    again.ui.resetKeysButton.click()
    assert again.module.panel.key_table.keys() == before
    again.close()
    for damaged in ("{", '["D"]', '{"accept": "E"}', '{"accept": "Space"}', '{"accept": 5, "empty": "5"}'):
        file.write_text(damaged)
        other = Window(tmp_path)
        assert other.module.panel.key_table.keys() == before
        assert type(InvalidAction(other.module.panel.key_table.problem)) is InvalidAction
        assert "keys.json" in other.module.panel.key_table.problem
        other.close()
        assert file.read_text() == damaged


def test_brush_and_eraser_are_the_segment_editors(window: Window) -> None:
    ui, editor = window.ui, window.module.editor
    window.press("B")
    assert (editor.used(), ui.brushButton.isChecked()) == ("Paint", True)
    window.click("eraserButton")
    assert (editor.used(), ui.eraserButton.isChecked(), ui.brushButton.isChecked()) == ("Erase", True, False)
    window.press("R")
    assert editor.used() == ""
    editor.widget.setActiveEffectByName("Paint")  # by the editor's own key
    window.module.panel.tick()
    assert ui.brushButton.isChecked()
    ui.brushSlider.setValue(12)
    assert editor._node.GetAttribute("BrushRelativeDiameter") == "12"
    editor._node.SetAttribute("BrushRelativeDiameter", "7.2")  # Shift+wheel
    window.module.panel.tick()
    assert ui.brushSlider.value() == 7
    assert editor._node.GetAttribute("BrushRelativeDiameter") == "7.2"


def test_a_download_shows_its_progress(window: Window) -> None:
    import threading

    gate, panel, runner = threading.Event(), window.module.panel, window.workspace.runner
    assert runner.start("open", lambda cancel: gate.wait(20), lambda _result: None, lambda _error: None)
    download = window.workspace.controller.download
    panel.tick()
    assert not window.ui.loadProgress.isVisible()
    download.set(30, 120)
    panel.tick()
    assert (window.ui.loadProgress.isVisible(), window.ui.loadProgress.value()) == (True, 25)
    download.set(120, None)
    gate.set()
    while runner.busy():
        panel.tick()
    panel.tick()
    assert not window.ui.loadProgress.isVisible()


def test_the_time_of_breaks_is_not_counted() -> None:
    now = [0.0]
    annotation = CaseAnnotation(a_sweep(), "anna", lambda: now[0])
    for seconds in (10, 20, 3600, 5):
        now[0] += seconds
        annotation.start_viewing(3)
    assert annotation.seconds == 10 + 20 + 60 + 5
