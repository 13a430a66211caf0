"""The real server on a real Orthanc: cines come, are scored and assessed, and final labels go back."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from app_harness import REPOSITORY, Answer, Server, free_port, start, stop
from cines import PATIENT, a_cine
from monailabel.config import settings
from orthanc_process import LOGIN, Orthanc, new_orthanc
from report_items import flat, groups, number, referenced

from fetaliqa.cli.main import main
from fetaliqa.labels import LabelStore
from fetaliqa.measure.anatomy import ABDOMEN
from fetaliqa.sweep import read_sweep
from monailabel_app import serve
from monailabel_app.lib.dicomweb.archive_client import Archive
from monailabel_app.lib.dicomweb.archive_sync import ArchiveSync

pytestmark = pytest.mark.orthanc

FRAMES = slice(66, 78)  # of a sample case: some show the phantom's abdomen, some do not
WAIT_SECONDS = 180  # a worker takes a minute to start on two cores that others use


@pytest.fixture(scope="module")
def phantom(sample_data: Path) -> tuple[np.ndarray, tuple[float, float]]:
    """Frames and spacing of a phantom sweep."""
    sweep = read_sweep(sorted((sample_data / "images" / "stacked_fetal_ultrasound").glob("*.mha"))[0])
    assert sweep.spacing is not None
    return sweep.frames[FRAMES], sweep.spacing


@pytest.fixture(scope="module")
def cines(phantom: Any, tmp_path_factory: pytest.TempPathFactory) -> list[pydicom.Dataset]:
    """Two cines in series of their own, and two in one series."""
    folder, (frames, spacing) = tmp_path_factory.mktemp("cines"), phantom
    shared = "1.2.826.0.1.3680043.8.498.99.7"
    told = [(1, None), (2, None), (3, shared), (4, shared)]
    return [
        a_cine(folder / f"{number}.dcm", np.roll(frames, number, axis=2)[: 12 - number], number, series, spacing)
        for number, series in told
    ]


@pytest.fixture(scope="module")
def orthanc(cines: list[pydicom.Dataset], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc with these cines, and a still that is none."""
    running = new_orthanc(tmp_path_factory.mktemp("orthanc") / "data")
    running.start()
    try:
        still = a_still(cines[0])
        running.client.store_instances([*cines, still])
        yield running
    finally:
        running.stop()


def a_still(cine: pydicom.Dataset) -> pydicom.Dataset:
    """One frame of a cine as an image of its own, in a series of its own."""
    content = io.BytesIO()
    pydicom.dcmwrite(content, cine)
    content.seek(0)
    still = pydicom.dcmread(content)
    still.PixelData, still.NumberOfFrames = cine.PixelData[: cine.Rows * cine.Columns], 1
    still.SOPInstanceUID = still.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.99.5"
    still.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.99.6"
    return still


def command(orthanc: Orthanc, root: Path, port: int, plain: bool = False) -> list[str]:
    """How the server is started, with MONAI Label's command or with ours."""
    if plain:
        begin = ["-m", "monailabel.main", "start_server", "--app", str(REPOSITORY / "monailabel_app")]
        begin += ["--host", "127.0.0.1"]
    else:
        begin = ["-m", "monailabel_app.serve"]
    begin += ["--studies", orthanc.address, "--port", str(port)]
    for key, value in (("bundle", "demo"), ("device", "cpu"), ("cache_dir", root / "cache")):
        begin += ["--conf", key, str(value)]
    return [*begin, "--conf", "dicom_folder", str(root / "archives"), "--conf", "dicom_refresh", "0"]


@pytest.fixture(scope="module")
def login() -> Iterator[None]:
    """The archive's login, where MONAI Label's servers look for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_LABEL_DICOMWEB_USERNAME", LOGIN[0])
        patch.setenv("MONAI_LABEL_DICOMWEB_PASSWORD", LOGIN[1])
        yield


@pytest.fixture(scope="module")
def server(orthanc: Orthanc, login: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("front")
    (root / "archives").mkdir()
    port = free_port()
    running = start(root, command(orthanc, root, port), port)
    try:
        settled(running)
        yield running
    finally:
        stop(running)
    log = (root / "server.log").read_text()
    assert "Traceback (most recent call last)" not in log
    assert LOGIN[1] not in log


def settled(server: Server, ready: Callable[[dict[str, Any]], bool] = lambda status: True) -> dict[str, Any]:
    """The link's status once it rests, and is as wanted."""
    deadline = time.monotonic() + WAIT_SECONDS
    status: dict[str, Any] = {}
    while time.monotonic() < deadline:
        status = server.raw("GET", "/archive/").json()
        if not status["looking"] and status["last_look"] and ready(status):
            return status
        time.sleep(0.1)
    pytest.fail(f"the archive and its copies are still apart: {status}")


def put_masks(server: Server, image_id: str, masks: np.ndarray, record: dict[str, Any], **more: Any) -> Answer:
    """Save masks on the grid of an image, downloaded from the server as a client does."""
    downloaded = server.root / f"{image_id}.dcm"
    downloaded.write_bytes(server.raw("GET", f"/datastore/image?image={image_id}").body)
    sweep = read_sweep(downloaded)
    image = sitk.GetImageFromArray(masks)
    image.SetSpacing(sweep.grid.spacing)
    path = server.root / "sent.nii.gz"
    sitk.WriteImage(image, str(path))
    params = {"frame_record": {"schema": 1, "frames": record}, **more}
    return server.call(
        "PUT",
        f"/datastore/label?image={image_id}&tag=final",
        files={"label": ("sent.nii.gz", path.read_bytes())},
        data={"params": json.dumps(params)},
    )


def segmentations(orthanc: Orthanc, image: pydicom.Dataset) -> list[pydicom.Dataset]:
    """The archive's segmentations of an image, the first version first."""
    client = orthanc.client
    found = []
    for series in client.search_for_series(search_filters={"Modality": "SEG"}):
        told = pydicom.Dataset.from_json(series)
        for one in client.search_for_instances(told.StudyInstanceUID, told.SeriesInstanceUID):
            instance = pydicom.Dataset.from_json(one).SOPInstanceUID
            dataset = client.retrieve_instance(told.StudyInstanceUID, told.SeriesInstanceUID, instance)
            if dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == image.SeriesInstanceUID:
                found.append(dataset)
    return sorted(found, key=lambda dataset: int(dataset.SeriesNumber))


def test_all_cines_are_there_as_the_archive_has_them(server: Server, cines: list[pydicom.Dataset]) -> None:
    status = settled(server)
    assert (status["cines"], status["waiting"], status["problems"]) == (4, [], [])
    listed = server.raw("GET", "/datastore/?output=all").json()["objects"]
    sole = [cine.SeriesInstanceUID for cine in cines[:2]]
    assert set(listed) == {*sole, *(cine.SOPInstanceUID for cine in cines[2:])}  # and not the still
    for cine in cines[:2]:
        got = pydicom.dcmread(
            io.BytesIO(server.raw("GET", f"/datastore/image?image={cine.SeriesInstanceUID}").body)
        )
        assert got == cine
    assert server.raw("GET", "/datastore/").json()["total"] == 4


def test_a_cine_is_assessed_and_all_are_scored_for_the_next_sample(
    server: Server, cines: list[pydicom.Dataset], phantom: Any
) -> None:
    answer = server.infer(f"image={cines[0].SeriesInstanceUID}&output=json").json()["fetaliqa"]
    frames, spacing = phantom
    assert answer["shape"] == [11, *frames.shape[1:]]
    assert answer["spacing_mm"] == pytest.approx(spacing)
    assert server.call("POST", "/scoring/frames", json={}).status == 200
    deadline = time.monotonic() + WAIT_SECONDS
    while server.raw("GET", "/activelearning/").json()["scored"] < 4:
        assert time.monotonic() < deadline, server.raw("GET", "/scoring/").body.decode()
        time.sleep(0.5)
    offered = server.call("POST", "/activelearning/fetaliqa", json={"user": "anna"}).json()
    assert offered["id"] in server.raw("GET", "/datastore/?output=all").json()["objects"]
    assert offered["frames"]


def test_a_final_label_is_found_in_the_archive_with_its_frames_and_geometry(
    server: Server, orthanc: Orthanc, cines: list[pydicom.Dataset], phantom: Any
) -> None:
    cine, image_id = cines[0], cines[0].SeriesInstanceUID
    masks = np.zeros((11, cine.Rows, cine.Columns), np.uint8)
    masks[4, 40:90, 50:120] = 1
    masks[9, 60:80, 30:70] = 1
    masks[10, 10:20, 10:20] = 1  # proposed: nobody confirmed it
    record = {
        "4": {"state": "annotated", "plane": "optimal", "rater": "Änne", "model": "demo", "model_version": "3"},
        "6": {"state": "empty", "rater": "Änne"},
        "9": {"state": "annotated", "plane": "suboptimal", "rater": "ben"},
        "10": {"state": "proposed", "model": "demo"},
    }
    assert put_masks(server, image_id, masks, record).json()["version"] == 1
    settled(server, lambda status: not status["waiting"])
    (found,) = segmentations(orthanc, cine)
    shown = {}
    for frame, of_frame in zip(found.pixel_array, found.PerFrameFunctionalGroupsSequence):
        (source,) = of_frame.DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPInstanceUID == cine.SOPInstanceUID
        segment = of_frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        shown[int(source.ReferencedFrameNumber) - 1] = (int(segment), frame)
    assert sorted(shown) == [4, 6, 9]
    assert [shown[frame][0] for frame in (4, 6, 9)] == [1, 1, 2]
    for frame, (_, mask) in shown.items():
        assert np.array_equal(mask, masks[frame])
    assert [one.SegmentLabel for one in found.SegmentSequence] == ["abdomen", "abdomen_suboptimal"]
    measures = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(value) for value in measures.PixelSpacing] == pytest.approx(phantom[1])
    for keyword in ("StudyInstanceUID", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber"):
        assert found[keyword].value == cine[keyword].value
    assert (str(found.PatientName), str(found.ContentCreatorName)) == (PATIENT, "ben, Änne^")
    info = server.raw("GET", f"/datastore/label/info?label={image_id}&tag=final").json()
    assert info["archive"]["SOPInstanceUID"] == found.SOPInstanceUID
    report = fetched(orthanc, found.StudyInstanceUID, info["archive"]["ReportInstanceUID"])
    places = {(one.ReferencedSOPInstanceUID, one.ReferencedFrameNumber) for one in referenced(report)}
    # frames from 1; not the empty one, nor the proposed one
    assert places == {(cine.SOPInstanceUID, 5), (cine.SOPInstanceUID, 10)}
    people = [str(one.PersonName) for one in flat(report) if one.ValueType == "PNAME"]
    assert people == ["ben^", "Änne^"]
    assert str(report.PatientName) == PATIENT


def fetched(orthanc: Orthanc, study: str, instance: str) -> pydicom.Dataset:
    """A report of a study, by DICOMweb."""
    client = orthanc.client
    for series in client.search_for_series(study, search_filters={"Modality": "SR"}):
        uid = pydicom.Dataset.from_json(series).SeriesInstanceUID
        for one in client.search_for_instances(study, uid):
            if pydicom.Dataset.from_json(one).SOPInstanceUID == instance:
                return client.retrieve_instance(study, uid, instance)
    pytest.fail(f"the archive has no report {instance} in study {study}")


def test_the_report_of_a_scored_case_is_stored_with_its_image_and_its_segmentation(
    orthanc: Orthanc, sample_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    case = sample_data / "images/stacked_fetal_ultrasound/5cb3b4e9-bd03-43ef-851b-aa207eec56ca.mha"
    assert main(["score", str(case), "--ga", "24w3d", "--out", str(tmp_path), "--format", "sr", "--quiet"]) == 0
    written = {path.stem: pydicom.dcmread(path) for path in (tmp_path / case.stem).glob("*.dcm")}
    assert set(written) == {"image", "report", "segmentation"}
    orthanc.client.store_instances(list(written.values()))
    report = fetched(orthanc, written["image"].StudyInstanceUID, written["report"].SOPInstanceUID)
    assert report == written["report"]
    found = groups(report)["AC of the case"]
    record = json.loads((tmp_path / case.stem / "assessment.json").read_text())
    assert number(found, "Abdominal Circumference") == (record["measurement"]["mm"], "mm")
    for reference in referenced(report):
        image = written["image"]
        frames = orthanc.client.retrieve_instance_frames(
            image.StudyInstanceUID, image.SeriesInstanceUID, reference.ReferencedSOPInstanceUID, [1]
        )
        assert len(frames[0]) == image.Rows * image.Columns


def test_an_archive_that_is_away_costs_no_label_and_gets_it_later(
    server: Server, orthanc: Orthanc, cines: list[pydicom.Dataset]
) -> None:
    cine, image_id = cines[1], cines[1].SeriesInstanceUID
    masks = np.zeros((10, cine.Rows, cine.Columns), np.uint8)
    masks[3, 20:40, 20:60] = 1
    orthanc.stop()
    try:
        saved = put_masks(server, image_id, masks, {"3": {"state": "annotated", "rater": "anna"}})
        assert saved.json()["version"] == 1
        status = settled(server, lambda status: bool(status["problems"]))
        assert status["waiting"] == [{"image": image_id, "version": 1}]
        assert orthanc.address in status["problems"][0]
        assert server.infer(f"image={image_id}&output=json").status == 200  # the copies are served
    finally:
        orthanc.start()
    assert segmentations(orthanc, cine) == []
    server.raw("POST", "/archive/refresh")
    status = settled(server, lambda status: not status["waiting"])
    assert status["problems"] == []
    (found,) = segmentations(orthanc, cine)
    assert np.array_equal(found.pixel_array, masks[3])


def test_a_restored_version_and_new_cines_follow(
    server: Server, orthanc: Orthanc, cines: list[pydicom.Dataset], tmp_path: Path
) -> None:
    cine, image_id = cines[2], cines[2].SOPInstanceUID
    masks = np.zeros((9, cine.Rows, cine.Columns), np.uint8)
    masks[2, 5:30, 5:30] = 1
    for shift in (0, 11):
        put_masks(server, image_id, np.roll(masks, shift, axis=1), {"2": {"state": "annotated", "rater": "ben"}})
        settled(server, lambda status: not status["waiting"])
    label = f"label={image_id}&tag=final"
    assert server.raw("POST", f"/datastore/label/restore?{label}&version=1").status == 200
    settled(server, lambda status: not status["waiting"])
    found = segmentations(orthanc, cine)
    assert [int(one.SeriesNumber) for one in found] == [7001, 7002, 7003]
    assert np.array_equal(found[-1].pixel_array, masks[2])
    new = a_cine(tmp_path / "new.dcm", np.full((5, 40, 60), 90, np.uint8), 9)
    orthanc.client.store_instances([new])
    server.raw("POST", "/archive/refresh")
    assert settled(server, lambda status: status["cines"] == 5)["problems"] == []
    assert new.SeriesInstanceUID in server.raw("GET", "/datastore/?output=all").json()["objects"]


def test_monailabels_own_command_serves_the_archive_too(
    orthanc: Orthanc,
    login: None,
    cines: list[pydicom.Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "archives").mkdir()
    port = free_port()
    plain = start(tmp_path, command(orthanc, tmp_path, port, plain=True), port)
    before = len(segmentations(orthanc, cines[3]))
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        image_id = cines[3].SOPInstanceUID
        while image_id not in plain.raw("GET", "/datastore/?output=all").json()["objects"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert plain.infer(f"image={image_id}&output=json").json()["fetaliqa"]["case_id"] == image_id
        masks = np.zeros((8, cines[3].Rows, cines[3].Columns), np.uint8)
        masks[1, 5:30, 5:30] = 1
        assert put_masks(plain, image_id, masks, {"1": {"state": "annotated"}}).status == 200
        while len(segmentations(orthanc, cines[3])) == before:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        stop(plain)
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_USERNAME", LOGIN[0])
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_PASSWORD", LOGIN[1])
    (tmp_path / "another").mkdir()  # as on a new machine: labels come back from the archive
    link = ArchiveSync(Archive(orthanc.address, 2**30), tmp_path / "another", 0.0, lambda: ABDOMEN)
    link.run_once(search=True)
    assert link.status()["problems"] == []
    back = LabelStore(tmp_path / "another" / "label-versions").current(image_id, "final")
    assert back is not None
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(back.mask))), masks)


def test_a_wrong_login_ends_the_server_with_one_sentence(
    orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_USERNAME", "labeller")
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_PASSWORD", "another")
    (tmp_path / "archives").mkdir()
    assert serve.main(command(orthanc, tmp_path, free_port())[2:]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: the archive {orthanc.address}")
    assert "401" in error
    assert "another" not in error
