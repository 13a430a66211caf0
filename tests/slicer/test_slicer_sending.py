"""Files, DICOM series and sequences that are sent to a real server as new cases."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from app_harness import Server, free_port, stop, write_case
from demo_server import start_demo_server
from dicom_files import a_dataset, a_region, encapsulated, saved
from fake_server import FakeServer
from FetalIQALib.client_errors import FetalIQAError, RequestCanceled
from FetalIQALib.dicom_cines import cine_files, joined_cine, series_uid, ultrasound_series
from FetalIQALib.http_client import Cancel
from FetalIQALib.image_upload import MultipartFile, case_name, checked_file
from FetalIQALib.sequence_files import write_sequence
from FetalIQALib.workspace import Workspace
from PIL import Image
from pydicom import dcmread
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit
from workspaces import connected, settle, wait_for

from fetaliqa.sweep import read_sweep

slicer = pytest.importorskip(
    "slicer", reason="slicer-core cannot be imported: pip install -e '.[dev]'", exc_type=ImportError
)
vtk = pytest.importorskip("vtk", reason="vtk cannot be imported: pip install -e '.[dev]'", exc_type=ImportError)

from FetalIQALib.sequence_nodes import frames_of  # noqa: E402
from vtk.util import numpy_support  # noqa: E402

FRAMES = np.random.default_rng(5).integers(1, 256, (5, 33, 41), dtype=np.uint8)  # odd sizes: padding bytes matter


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("sending")
    write_case(root / "studies" / "there.mha", 4)
    server = start_demo_server(root, free_port())
    yield server
    stop(server)
    assert "Traceback" not in (root / "server.log").read_text()


@pytest.fixture
def workspace(running: Server, tmp_path: Path) -> Workspace:
    return connected(tmp_path / "work", running.url)


def sent(workspace: Workspace, case: str) -> np.ndarray:
    """Wait until a case is sent and opened; returns its frames."""
    settle(workspace)
    annotation = workspace.controller.annotation
    assert annotation is not None, workspace.session.status
    assert annotation.sweep.case == case
    assert workspace.worklist.row(case) is not None
    return annotation.sweep.stack.frames


def single_frames(folder: Path, count: int = 5, **changes: object) -> list[Path]:
    """A cine as single-frame files, whose names are in another order than its frames."""
    folder.mkdir(exist_ok=True)
    files = []
    for index in range(count):
        dataset = a_dataset(FRAMES[index][None])
        del dataset.NumberOfFrames
        dataset.InstanceNumber = index + 1
        dataset.SequenceOfUltrasoundRegions = Sequence([a_region(0.03, 0.02)])
        for name, value in changes.items():
            setattr(dataset, name, value)
        files.append(saved(dataset, folder / f"IM{(index * 3) % 5}"))
    return sorted(files)


# -- files ------------------------------------------------------------------------------------------


def test_a_file_is_sent_and_opened(workspace: Workspace, running: Server, tmp_path: Path) -> None:
    stack = write_case(tmp_path / "Fall 7.mha", 6)
    texts: list[str] = []
    workspace.session.add_listener(lambda topic: texts.append(workspace.session.status.text))
    assert workspace.sending.send_file(tmp_path / "Fall 7.mha", case_name(tmp_path / "Fall 7.mha"))
    assert np.array_equal(sent(workspace, "Fall 7"), stack)
    assert (running.root / "studies" / "Fall 7.mha").read_bytes() == (tmp_path / "Fall 7.mha").read_bytes()
    assert any("Fall 7" in text for text in texts)
    assert workspace.sending.progress is None


def test_a_dicom_file_without_suffix_is_sent_with_its_calibration(workspace: Workspace, tmp_path: Path) -> None:
    dataset = a_dataset(FRAMES)
    dataset.SequenceOfUltrasoundRegions = Sequence([a_region(0.03, 0.02)])
    path = saved(dataset, tmp_path / "IM0001")
    assert workspace.sending.send_file(path, "cine")
    assert np.array_equal(sent(workspace, "cine"), FRAMES)
    assert workspace.controller.annotation.sweep.stack.spacing_mm == pytest.approx((0.2, 0.3))


def test_a_name_that_is_taken_is_refused_before_anything_is_sent(
    workspace: Workspace, running: Server, tmp_path: Path
) -> None:
    write_case(tmp_path / "other.mha", 3, seed=9)
    before = (running.root / "studies" / "there.mha").read_bytes()
    assert workspace.sending.send_file(tmp_path / "other.mha", "there")
    settle(workspace)
    assert workspace.session.status.kind == "problem"
    assert "there" in workspace.session.status.text
    assert (running.root / "studies" / "there.mha").read_bytes() == before


@pytest.mark.parametrize("name", ["", "  ", "a/b", "..", "-x", ".x"])
def test_names_that_no_case_may_have_are_refused(workspace: Workspace, tmp_path: Path, name: str) -> None:
    write_case(tmp_path / "a.mha", 3)
    assert not workspace.sending.send_file(tmp_path / "a.mha", name)
    assert workspace.session.status.kind == "problem"


def test_a_file_that_the_server_cannot_read_is_its_sentence(
    workspace: Workspace, running: Server, tmp_path: Path
) -> None:
    (tmp_path / "text.mha").write_text("this is a text file")
    assert workspace.sending.send_file(tmp_path / "text.mha", "text")
    settle(workspace)
    assert workspace.session.status.kind == "problem"
    assert not list((running.root / "studies").glob("text*"))


@pytest.mark.parametrize("name", ["missing.mha", "notes.txt", "header.mhd", "empty"])
def test_what_is_no_image_of_one_piece_is_named(tmp_path: Path, name: str) -> None:
    if name != "missing.mha":
        (tmp_path / name).write_text("")
    with pytest.raises(FetalIQAError, match=name):
        checked_file(tmp_path / name)


def test_the_body_is_the_file_between_its_borders_whatever_the_pieces(tmp_path: Path) -> None:
    content = bytes(range(256)) * 3
    (tmp_path / "a.mha").write_bytes(content)
    for size in (1, 7, 64, 10_000):
        reports: list[tuple[int, int]] = []
        report = partial(lambda reports, *values: reports.append(values), reports)
        with MultipartFile(tmp_path / "a.mha", "image.mha", report, Cancel()) as body:
            whole = io.BytesIO()
            while piece := body.read(size):
                whole.write(piece)
            assert len(whole.getvalue()) == len(body)
        boundary = body.content_type.split("boundary=")[1].encode()
        head, _, tail = whole.getvalue().partition(content)
        assert head.startswith(b"--" + boundary + b"\r\n")
        assert head.endswith(b"\r\n\r\n")
        assert tail == b"\r\n--" + boundary + b"--\r\n"
        assert reports[-1] == (len(content), len(content))
        assert sorted(reports) == reports


def test_an_upload_can_be_canceled(tmp_path: Path, fake: FakeServer) -> None:
    connection = connected(tmp_path, fake.url)
    (tmp_path / "big.mha").write_bytes(b"\0" * (8 << 20))
    received: list[int] = []

    def slow(handler):
        received.append(len(handler.body))
        return 200, b'{"image": "big"}', {}

    fake.on("PUT", "/datastore/image", slow)
    body = MultipartFile(tmp_path / "big.mha", "image.mha", lambda *report: None, Cancel())
    with body:
        body.read(10)
        body._cancel.set()
        with pytest.raises(RequestCanceled):
            body.read(10)
    assert connection.sending.send_file(tmp_path / "big.mha", "big")
    wait_for(connection, lambda: connection.sending.progress is not None)
    connection.session.cancel()
    time.sleep(0.3)
    settle(connection)
    assert connection.controller.annotation is None


# -- DICOM ------------------------------------------------------------------------------------------


def test_single_frame_files_become_one_cine_in_their_order(workspace: Workspace, tmp_path: Path) -> None:
    files = single_frames(tmp_path / "series")
    assert workspace.sending.send_dicom(files, "joined")
    assert np.array_equal(sent(workspace, "joined"), FRAMES)
    assert workspace.controller.annotation.sweep.stack.spacing_mm == pytest.approx((0.2, 0.3))


def test_one_file_of_a_series_brings_the_others_of_its_folder(workspace: Workspace, tmp_path: Path) -> None:
    files = single_frames(tmp_path / "series")
    saved(a_dataset(FRAMES), tmp_path / "series" / "loop.dcm")  # same series, a cine of its own
    other = a_dataset(FRAMES[:1])
    other.SeriesInstanceUID = "1.9"
    saved(other, tmp_path / "series" / "other.dcm")
    (tmp_path / "series" / "notes.txt").write_text("text")
    assert cine_files(files[2]) == files
    assert cine_files(tmp_path / "series" / "loop.dcm") == [tmp_path / "series" / "loop.dcm"]
    assert workspace.sending.send_file(files[2], "by one file")
    assert np.array_equal(sent(workspace, "by one file"), FRAMES)


def test_the_joined_file_is_read_as_the_folder_is(tmp_path: Path) -> None:
    files = single_frames(tmp_path / "series")
    joined, folder = read_sweep(joined_cine(files, tmp_path)), read_sweep(tmp_path / "series")
    assert np.array_equal(joined.frames, folder.frames)
    assert joined.spacing == folder.spacing
    dataset = dcmread(tmp_path / "cine.dcm")
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
    assert dataset.SOPInstanceUID not in {dcmread(file).SOPInstanceUID for file in files}


def test_compressed_frames_are_joined_without_decoding(tmp_path: Path) -> None:
    files, pictures = [], []
    for index in range(3):
        buffer = io.BytesIO()
        Image.fromarray(FRAMES[index]).save(buffer, "JPEG", quality=90)
        dataset = encapsulated(a_dataset(FRAMES[index][None]), [buffer.getvalue()], JPEGBaseline8Bit)
        del dataset.NumberOfFrames
        dataset.InstanceNumber = 3 - index
        files.append(saved(dataset, tmp_path / f"{index}.dcm"))
        pictures.append(read_sweep(files[-1]).frames[0])
    assert np.array_equal(read_sweep(joined_cine(files, tmp_path)).frames, np.stack(pictures[::-1]))


def test_one_multi_frame_file_is_sent_as_it_is(tmp_path: Path) -> None:
    path = saved(a_dataset(FRAMES), tmp_path / "a.dcm")
    assert joined_cine([path], tmp_path) == path


def test_files_that_are_not_one_cine_are_refused_with_the_reason(tmp_path: Path) -> None:
    def refusal(files: list[Path]) -> str:
        with pytest.raises(FetalIQAError) as caught:
            joined_cine(files, tmp_path)
        return str(caught.value)

    other = single_frames(tmp_path / "other", SeriesInstanceUID="1.2.5")
    assert "2 series" in refusal([*single_frames(tmp_path / "one"), *other])
    assert "instance numbers" in refusal(single_frames(tmp_path / "equal", InstanceNumber=4))
    cines = [saved(a_dataset(FRAMES), tmp_path / name) for name in ("a.dcm", "b.dcm")]
    assert "2 cines" in refusal(cines)
    mixed = single_frames(tmp_path / "mixed", 2)
    dataset = dcmread(mixed[1])
    dataset.SequenceOfUltrasoundRegions = Sequence([a_region(0.05, 0.05)])
    dataset.save_as(mixed[1])
    assert "SequenceOfUltrasoundRegions" in refusal(mixed)
    (tmp_path / "text.dcm").write_text("text")
    assert "text.dcm" in refusal([mixed[0], tmp_path / "text.dcm"])


class Database:
    """ctkDICOMDatabase's methods on files of a folder: one patient, one study."""

    def __init__(self, folder: Path) -> None:
        self.isOpen = True
        self._files: dict[str, list[str]] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._files.setdefault(series_uid(path), []).append(str(path))

    def patients(self) -> tuple[str, ...]:
        return ("1",)

    def studiesForPatient(self, patient: str) -> tuple[str, ...]:
        return ("1.2",)

    def seriesForStudy(self, study: str) -> tuple[str, ...]:
        return tuple(self._files)

    def filesForSeries(self, series: str) -> tuple[str, ...]:
        return tuple(self._files[series])

    def fileValue(self, file: str, tag: str) -> str:
        group, element = (int(part, 16) for part in tag.split(","))
        dataset = dcmread(file, stop_before_pixels=True)
        return str(dataset[group, element].value) if (group, element) in dataset else ""


def test_the_ultrasound_series_of_a_database_are_listed_without_names(tmp_path: Path) -> None:
    single_frames(tmp_path / "db", SeriesDescription="Abdomen sweep")
    for name, modality, uid in (("ct", "CT", "1.9"), ("loop", "US", "1.8")):
        dataset = a_dataset(FRAMES)
        dataset.Modality, dataset.SeriesInstanceUID = modality, uid
        saved(dataset, tmp_path / "db" / name)
    series = ultrasound_series(Database(tmp_path / "db"))
    assert {(one.uid, one.text, len(one.files)) for one in series} == {
        ("1.2.3.4", "Abdomen sweep, 5 files", 5),
        ("1.8", "5 frames", 1),
    }
    assert not any("DOE" in one.text for one in series)
    assert ultrasound_series(None) == []


# -- sequences --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
@pytest.mark.parametrize("spacing", [(0.2, 0.3), None])
def test_a_written_sequence_is_read_by_slicer_and_by_the_server(tmp_path: Path, dtype: type, spacing) -> None:
    write_sequence(tmp_path / "a.seq.nrrd", FRAMES.astype(dtype), spacing)
    sweep = read_sweep(tmp_path / "a.seq.nrrd")
    assert np.array_equal(sweep.frames, FRAMES)
    assert sweep.spacing == spacing
    scene, node = slicer.vtkMRMLScene(), slicer.vtkMRMLSequenceNode()
    storage = slicer.vtkMRMLVolumeSequenceStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / "a.seq.nrrd"))
    assert storage.ReadData(node)
    frames, again = frames_of(node)
    assert np.array_equal(frames, FRAMES)
    assert again == (None if spacing is None else pytest.approx(spacing))


def volume_of(pixels: np.ndarray, spacing: tuple[float, float] = (0.3, 0.2)):
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    image = vtk.vtkImageData()
    image.SetDimensions(pixels.shape[1], pixels.shape[0], 1)
    flat = np.ascontiguousarray(pixels).reshape(-1, channels) if channels > 1 else pixels.reshape(-1)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(flat, deep=True))
    node = slicer.vtkMRMLVectorVolumeNode() if channels > 1 else slicer.vtkMRMLScalarVolumeNode()
    node.SetAndObserveImageData(image)
    node.SetSpacing(*spacing, 1.0)
    return node


def sequence_of(volumes: list):
    scene, node = slicer.vtkMRMLScene(), slicer.vtkMRMLSequenceNode()
    scene.AddNode(node)
    for number, volume in enumerate(volumes):
        node.SetDataNodeAtValue(volume, str(number))
    node.scene = scene
    return node


def test_a_sequence_of_the_scene_is_sent(workspace: Workspace) -> None:
    frames, spacing = frames_of(sequence_of([volume_of(frame) for frame in FRAMES]))
    assert workspace.sending.send_frames(frames, spacing, "from the scene")
    assert np.array_equal(sent(workspace, "from the scene"), FRAMES)
    assert workspace.controller.annotation.sweep.stack.spacing_mm == pytest.approx((0.2, 0.3))


def test_a_sequence_without_spacing_is_not_measured_in_mm(workspace: Workspace) -> None:
    frames, spacing = frames_of(sequence_of([volume_of(frame, (1.0, 1.0)) for frame in FRAMES]))
    assert spacing is None
    assert workspace.sending.send_frames(frames, spacing, "without spacing")
    assert np.array_equal(sent(workspace, "without spacing"), FRAMES)
    assert workspace.controller.annotation.sweep.spacing_mm is None


def test_colours_of_a_sequence_are_reduced_to_luma() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (33, 41, 3), dtype=np.uint8)
    frames, _spacing = frames_of(sequence_of([volume_of(colours)]))
    expected = (colours * np.array([0.299, 0.587, 0.114])).sum(axis=2)
    assert np.abs(frames[0] - expected).max() <= 0.5 + 1e-3
    assert frames.dtype == np.uint8


def test_sequences_that_are_no_sweep_are_refused() -> None:
    for volumes, value in (
        ([], "no items"),
        ([volume_of(FRAMES[0]), volume_of(FRAMES[1][:30])], "differ in size"),
        ([volume_of(FRAMES[0]), volume_of(FRAMES[1], (0.5, 0.5))], "spacing"),
        ([slicer.vtkMRMLTableNode()], "not an image"),
    ):
        with pytest.raises(FetalIQAError, match=value):
            frames_of(sequence_of(volumes))
