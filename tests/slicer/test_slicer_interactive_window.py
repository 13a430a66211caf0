"""Clicks, carrying along and sending in the window (PySide6, offscreen), by keys and mouse, on a fake server."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.request import url2pathname

import numpy as np
import pytest

slicer = pytest.importorskip(
    "slicer", reason="slicer-core cannot be imported: pip install -e '.[dev]'", exc_type=ImportError
)
pytest.importorskip("PySide6", reason="PySide6 cannot be imported: pip install -e '.[dev]'", exc_type=ImportError)

import nrrd  # noqa: E402
import vtk  # noqa: E402
from fake_server import FakeServer  # noqa: E402
from FetalIQALib.sequence_nodes import frames_of  # noqa: E402
from FetalIQALib.user_actions import EDITOR_KEYS, all_actions  # noqa: E402
from interactive_server import InteractiveServer  # noqa: E402
from panel_window import Window  # noqa: E402
from workspaces import a_sweep, settle, wait_for  # noqa: E402

from fetaliqa.sweep import read_sweep  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
FRAME = 15


class InteractiveWindow(Window):
    """The window with an open case, connected to a fake server."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        assert self.workspace.connect(url, rater="anna")
        settle(self.workspace)
        self.put(a_sweep())
        self.red = self.views()["Red"]
        self.red.mrmlSliceCompositeNode().SetBackgroundVolumeID(self.module.logic.scene.frames.volume.GetID())
        node = self.red.mrmlSliceNode()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(node.GetScene())
        node.SetOrientationToAxial()
        node.SetDimensions(400, 300, 1)
        node.SetFieldOfView(24.8, 18.6, 1)
        node.SetSliceOrigin(-12.4, -9.0, 0)

    def click_at(self, column: float, row: float, shift: bool = False) -> None:
        """A click in the Red view at a pixel of the frame."""
        to_world, to_view = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
        self.module.logic.scene.frames.volume.GetIJKToRASMatrix(to_world)
        vtk.vtkMatrix4x4.Invert(self.red.mrmlSliceNode().GetXYToRAS(), to_view)
        x, y, _z, _one = to_view.MultiplyPoint(to_world.MultiplyPoint((column, row, 0, 1)))
        for event in ("LeftButtonPressEvent", "LeftButtonReleaseEvent"):
            self.red.interactor().SetEventInformation(round(x), round(y), 0, int(shift))
            self.red.interactor().InvokeEvent(event)
        settle(self.workspace)
        self.fake.process()


@pytest.fixture
def server() -> Iterator[InteractiveServer]:
    running = InteractiveServer()
    yield running
    running.proceed.set()
    running.close()


@pytest.fixture
def window(server: InteractiveServer, tmp_path: Path) -> Iterator[InteractiveWindow]:
    opened = InteractiveWindow(tmp_path, server.url)
    yield opened
    opened.close()
    gc.collect()


def test_the_keys_are_free() -> None:
    keys = {action.name: action.key for action in all_actions()}
    assert {keys[name] for name in ("click", "carry", "confirmCarried")}.isdisjoint(EDITOR_KEYS)
    assert len(set(keys.values())) == len(keys)


def test_clicks_by_key_and_mouse_make_a_label(window: InteractiveWindow, server: InteractiveServer) -> None:
    window.press("F")
    assert window.ui.clickButton.isChecked()
    window.click_at(10, 12)
    window.click_at(45, 30, shift=True)
    mask = window.annotation.masks()[FRAME].full()
    assert mask[12, 10]
    assert not mask[30, 45]
    window.press("U")
    assert window.annotation.masks()[FRAME].full()[30, 45]
    window.press("Esc")
    assert not window.ui.clickButton.isChecked()
    window.click_at(60, 50)
    assert len(server.prompts) == 2


@pytest.mark.parametrize("key", ["Esc", "Del", "F", "PgDown", "Shift+E"])
def test_the_tool_ends_and_the_label_stays(window: InteractiveWindow, key: str) -> None:
    window.press("F")
    window.click_at(10, 12)
    window.press(key)
    assert not window.workspace.clicks.active
    assert FRAME in window.annotation.masks()
    assert not window.ui.clickButton.isChecked()


def test_the_segment_editor_pauses_meanwhile(window: InteractiveWindow) -> None:
    editor = window.module.editor.widget
    assert editor.shortcuts
    window.press("F")
    assert editor.told["setActiveEffect"] is None
    assert editor.shortcuts == []  # else its Esc and this tool's are ambiguous
    window.press("Esc")
    assert editor.shortcuts
    window.press("F")
    window.module.exit()
    assert not window.workspace.clicks.active
    assert editor.shortcuts == []


def test_choosing_an_effect_ends_the_tool(window: InteractiveWindow) -> None:
    window.press("F")
    window.module.editor._node.SetActiveEffectName("Paint")
    assert not window.workspace.clicks.active


def test_a_mask_is_carried_and_confirmed_by_keys(window: InteractiveWindow) -> None:
    assert not window.ui.carryButton.isEnabled()
    window.press("D")
    assert window.ui.carryButton.isEnabled()
    assert not window.ui.confirmCarriedButton.isEnabled()
    window.press("T")
    settle(window.workspace)
    assert window.ui.confirmCarriedButton.isEnabled()
    window.press("PgDown")
    window.press("PgDown")
    assert "carried from frame 15" in window.ui.annotationLabel.text()
    assert "expected Dice 0.90" in window.ui.measureLabel.text()
    window.press("Shift+T")
    assert sorted(window.annotation.masks()) == [15, 16, 17]
    assert window.annotation.record()["frames"]["17"]["source_frame"] == FRAME
    window.press("U")
    window.press("U")
    assert sorted(window.annotation.masks()) == [15]
    assert not window.ui.confirmCarriedButton.isEnabled()


def test_without_the_model_the_buttons_are_off_and_the_keys_say_why(tmp_path: Path, fake: FakeServer) -> None:
    window = InteractiveWindow(tmp_path, fake.url)
    try:
        window.press("D")
        assert not window.ui.clickButton.isEnabled()
        assert not window.ui.carryButton.isEnabled()
        for key in ("F", "T"):
            window.press(key)
            assert "no interactive model" in window.ui.statusLabel.text()
    finally:
        window.close()
        gc.collect()


# -- sending ----------------------------------------------------------------------------------------


def test_a_file_is_sent_from_the_panel(
    window: InteractiveWindow, server: InteractiveServer, tmp_path: Path
) -> None:
    ui = window.module.sending.ui
    (tmp_path / "sweep 1.seq.nrrd").write_bytes(b"pixels")
    server.on("PUT", "/datastore/image", {"image": "sweep 1"})
    ui.fileEdit.setText(str(tmp_path / "sweep 1.seq.nrrd"))
    assert ui.caseEdit.text() == "sweep 1"
    ui.sendButton.click()
    settle(window.workspace)
    (body,) = [body for method, path, body, _headers in server.asked if method == "PUT"]
    assert b"\r\n\r\npixels\r\n" in body
    assert b'filename="image.seq.nrrd"' in body or b'filename="image.nrrd"' in body
    (path,) = [path for method, path, _body, _headers in server.asked if method == "PUT"]
    assert path == "/datastore/image?image=sweep%201"


def test_a_series_of_the_database_is_offered_by_its_description(window: InteractiveWindow, tmp_path: Path) -> None:
    from dicom_files import a_dataset, saved
    from test_slicer_sending import FRAMES, Database

    (tmp_path / "db").mkdir()
    dataset = a_dataset(FRAMES)
    dataset.SeriesDescription = "Sweep"
    saved(dataset, tmp_path / "db" / "a.dcm")
    ui = window.module.sending.ui
    ui.sourceCombo.setCurrentIndex(1)
    ui.sendButton.click()
    assert "no ultrasound series" in window.ui.statusLabel.text()
    slicer.dicomDatabase = Database(tmp_path / "db")
    try:
        ui.browseButton.click()
        assert ui.itemCombo.currentText() == "Sweep, 5 frames"
        assert ui.caseEdit.text() == "1.2.3.4"
    finally:
        del slicer.dicomDatabase


def test_sequences_of_the_scene_are_offered_but_not_the_modules_own(window: InteractiveWindow) -> None:
    from test_slicer_sending import FRAMES, volume_of

    ui = window.module.sending.ui
    ui.sourceCombo.setCurrentIndex(2)
    assert ui.itemCombo.count() == 0
    sequence = window.mrml.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "PLUS recording")
    for number, frame in enumerate(FRAMES):
        sequence.SetDataNodeAtValue(volume_of(frame), str(number))
    ui.browseButton.click()
    assert ui.itemCombo.currentText() == "PLUS recording (5)"
    assert ui.caseEdit.text() == "PLUS recording"


def test_the_open_case_is_saved_as_sequences(window: InteractiveWindow, tmp_path: Path) -> None:
    window.press("D")
    ui = window.module.sending.ui
    ui.saveSequenceButton.click()
    assert "folder" in window.ui.statusLabel.text()
    window.ui.folderEdit.setText(str(tmp_path / "out"))
    ui.saveSequenceButton.click()
    wait_for(window.workspace, lambda: not window.workspace.runner.busy())
    frames, header = nrrd.read(str(tmp_path / "out" / "case_a-sequence" / "case_a.seq.nrrd"), index_order="C")
    masks, _header = nrrd.read(
        str(tmp_path / "out" / "case_a-sequence" / "case_a-masks.seq.nrrd"), index_order="C"
    )
    assert np.array_equal(frames[:, 0], window.annotation.sweep.stack.frames)
    assert np.array_equal(masks[FRAME, 0], window.annotation.masks()[FRAME].full())
    assert np.count_nonzero(masks) == np.count_nonzero(masks[FRAME])
    assert list(header["kinds"]) == ["domain", "domain", "domain", "list"]


def test_the_sample_is_a_sequence_that_the_panel_can_send(
    window: InteractiveWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    import FetalIQA

    told: dict = {}
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **values: told.update(values))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    FetalIQA.register_sample_data()
    assert told["loadFileType"] == "SequenceFile"
    sequence = window.mrml.scene.AddNewNodeByClass("vtkMRMLSequenceNode", told["nodeNames"])
    storage = window.mrml.scene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
    storage.SetFileName(url2pathname(told["uris"][len("file://") :]))
    assert storage.ReadData(sequence)
    ui = window.module.sending.ui
    ui.sourceCombo.setCurrentIndex(2)
    assert ui.itemCombo.currentText() == "FetalIQAPhantom (24)"
    frames, spacing = frames_of(sequence)
    images = REPOSITORY / "sample-data" / "images" / "stacked_fetal_ultrasound"
    whole = read_sweep(images / "5cb3b4e9-bd03-43ef-851b-aa207eec56ca.mha")
    assert np.array_equal(frames, whole.frames[52:76])
    assert spacing == pytest.approx(whole.spacing)
