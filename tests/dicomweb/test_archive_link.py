"""A folder of copies and an archive that misbehaves: nothing is lost, nothing is written elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from cines import a_cine
from monailabel.config import settings
from stub_archive import StubArchive

from fetaliqa.anatomy import ABDOMEN
from fetaliqa.errors import FetalIQAError
from fetaliqa.export.options import ExportOptions
from fetaliqa.export.run import run_export
from fetaliqa.export.selection import Selection
from fetaliqa.export.source import ExportSource
from fetaliqa.labels import LabelStore
from fetaliqa.labels.record import parse_record
from fetaliqa.sweep import read_sweep
from monailabel_app import serve
from monailabel_app.lib.conf import ServerConf
from monailabel_app.lib.dicomweb import archive as archive_module
from monailabel_app.lib.dicomweb.address import archive_folder, checked_address
from monailabel_app.lib.dicomweb.archive import Archive
from monailabel_app.lib.dicomweb.link import ArchiveLink
from monailabel_app.lib.dicomweb.opening import open_studies
from monailabel_app.lib.dicomweb.store import ArchiveDatastore

SHARED = "1.2.826.0.1.3680043.8.498.99.7"
MEBIBYTE = 1024**2


@pytest.fixture(scope="module")
def cines(tmp_path_factory: pytest.TempPathFactory) -> list[pydicom.Dataset]:
    """One in a series of its own, two in one series."""
    folder, random = tmp_path_factory.mktemp("cines"), np.random.default_rng(0)
    made = []
    for number, series in ((1, None), (2, SHARED), (3, SHARED)):
        frames = random.integers(30, 200, (5, 24, 32), dtype=np.uint8)
        made.append(a_cine(folder / f"{number}.dcm", frames, number, series))
    return made


@pytest.fixture
def stub(cines: list[pydicom.Dataset]) -> Iterator[StubArchive]:
    running = StubArchive(cines)
    yield running
    running.close()


@pytest.fixture
def linked(stub: StubArchive, tmp_path: Path) -> Callable[..., ArchiveLink]:
    """A link to the stub; another one is another server's, on the same folder."""

    def make(max_bytes: int = MEBIBYTE) -> ArchiveLink:
        folder = tmp_path / "copies"
        folder.mkdir(exist_ok=True)
        return ArchiveLink(Archive(stub.address, max_bytes), folder, 0.0, lambda: ABDOMEN)

    return make


def copies(link: ArchiveLink) -> set[str]:
    return {path.name[:-4] for path in link.folder.iterdir() if path.suffix == ".dcm"}


def a_store(link: ArchiveLink) -> ArchiveDatastore:
    return ArchiveDatastore(link, max_file_bytes=MEBIBYTE, auto_reload=False)


def a_mask(link: ArchiveLink, image_id: str, row: int = 3) -> Path:
    sweep = read_sweep(link.folder / f"{image_id}.dcm")
    masks = np.zeros(sweep.shape, np.uint8)
    masks[2, row : row + 9, 4:20] = 1
    image = sitk.GetImageFromArray(masks)
    image.SetSpacing(sweep.grid.spacing)
    path = link.folder.parent / "mask.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


def record(state: str = "annotated") -> dict[str, Any]:
    return {"frame_record": {"schema": 1, "frames": {"2": {"state": state, "rater": "anna"}}}}


def segmentations(stub: StubArchive) -> list[pydicom.Dataset]:
    return [one for one in stub.instances if one.Modality == "SEG"]


def test_cines_are_copied_once_under_ids_that_stay(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset], tmp_path: Path
) -> None:
    link = linked()
    link.once(look=True)
    ids = {cines[0].SeriesInstanceUID, cines[1].SOPInstanceUID, cines[2].SOPInstanceUID}
    assert copies(link) == ids
    assert link.status()["problems"] == []
    assert stub.fetched() == 3
    stub.instances.append(
        a_cine(tmp_path / "4.dcm", np.full((3, 20, 30), 90, np.uint8), 4, cines[0].SeriesInstanceUID)
    )
    linked().once(look=True)
    assert copies(link) == {*ids, stub.instances[-1].SOPInstanceUID}  # the sole one of before keeps its name
    assert stub.fetched() == 4


def test_a_copy_that_was_taken_away_is_made_again_and_one_that_was_removed_is_not(
    linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset]
) -> None:
    link = linked()
    link.once(look=True)
    (link.folder / f"{cines[0].SeriesInstanceUID}.dcm").unlink()
    a_store(link).remove_image(cines[1].SOPInstanceUID)
    link.once(look=True)
    assert copies(link) == {cines[0].SeriesInstanceUID, cines[2].SOPInstanceUID}


@pytest.mark.parametrize("fault", ["other", "cut", "no pages"])
def test_a_bad_answer_leaves_no_file_and_the_next_look_makes_it_good(
    stub: StubArchive, linked: Callable[..., ArchiveLink], fault: str
) -> None:
    link = linked()
    stub.fault = fault
    link.once(look=True)
    if fault == "no pages":
        assert len(copies(link)) == 3
        return
    assert [path.name for path in link.folder.iterdir() if path.name != ".archive.lock"] == []
    assert len(link.status()["problems"]) == 3
    stub.fault = None
    link.once(look=True)
    assert (len(copies(link)), link.status()["problems"]) == (3, [])


def test_half_copies_of_killed_servers_go_and_those_just_being_made_stay(
    linked: Callable[..., ArchiveLink],
) -> None:
    link = linked()
    for name, age in ((".1.2.3.abc.dcm", 2 * 86400), (".1.2.4.abc.dcm", 60)):
        (link.folder / name).write_bytes(b"half")
        os.utime(link.folder / name, (time.time() - age,) * 2)
    link.once(look=True)
    assert [path.name for path in link.folder.glob(".*.dcm")] == [".1.2.4.abc.dcm"]


def test_more_series_than_a_page_holds_are_all_found(
    linked: Callable[..., ArchiveLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "PAGE", 1)
    link = linked()
    link.once(look=True)
    assert len(copies(link)) == 3


def test_what_is_too_large_is_left_where_it_is(stub: StubArchive, linked: Callable[..., ArchiveLink]) -> None:
    link = linked(max_bytes=2000)
    link.once(look=True)
    assert copies(link) == set()
    assert all("larger than the limit" in problem for problem in link.status()["problems"])


def test_names_that_are_no_uids_lead_nowhere(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset], tmp_path: Path
) -> None:
    stub.renamed = {cines[0].SeriesInstanceUID: "../../evil", cines[1].SOPInstanceUID: "../evil"}
    link = linked()
    link.once(look=True)
    assert copies(link) == set()  # of the series with a bad name, none
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copies"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("redirect", "sends on to another address"),
        ("login", "does not let us in"),
        ("garbage", "does not answer as a DICOMweb archive"),
    ],
)
def test_an_archive_that_is_none_is_told_in_one_sentence(
    stub: StubArchive, linked: Callable[..., ArchiveLink], fault: str, sentence: str
) -> None:
    other = StubArchive([])
    try:
        stub.fault, stub.elsewhere = fault, other.address.removesuffix("/dicom-web")
        with pytest.raises(FetalIQAError, match=sentence):
            linked().archive.check()
        assert other.calls == []
    finally:
        other.close()


def test_an_archive_that_goes_away_leaves_the_copies(
    stub: StubArchive, linked: Callable[..., ArchiveLink]
) -> None:
    link = linked()
    link.once(look=True)
    stub.close()
    link.once(look=True)
    assert "does not answer" in link.status()["problems"][0]
    assert len(copies(link)) == 3


@pytest.mark.parametrize("fault", ["refuse", "failed"])
def test_a_label_that_the_archive_refuses_waits_and_is_sent_later(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset], fault: str
) -> None:
    link, image_id = linked(), cines[0].SeriesInstanceUID
    link.once(look=True)
    store = a_store(link)
    stub.fault = fault
    store.save_label(image_id, str(a_mask(link, image_id)), "final", record())
    link.once(look=False)
    assert link.status()["waiting"] == [{"image": image_id, "version": 1}]
    assert len(link.status()["problems"]) == 1
    assert store.labels.latest(image_id, "final") == 1
    assert segmentations(stub) == []
    stub.fault = None
    again = linked()  # as after a restart: nothing was written down but the label
    again.once(look=True)
    assert again.status()["waiting"] == []
    (found,) = segmentations(stub)
    assert a_store(again).get_label_info(image_id, "final")["archive"]["SOPInstanceUID"] == found.SOPInstanceUID


def test_a_label_is_sent_once_whoever_saved_it(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset]
) -> None:
    link, image_id = linked(), cines[0].SeriesInstanceUID
    link.once(look=True)
    told = parse_record(record()["frame_record"], "test")
    LabelStore(link.folder / "label-versions").save(image_id, "final", a_mask(link, image_id), told, {})
    for _ in range(2):
        link.once(look=True)
    assert len(segmentations(stub)) == 1
    (link.folder / "archive.json").unlink()  # what was sent is forgotten: it is sent again, and is the same
    link.once(look=True)
    assert sum(method == "POST" for method, _ in stub.calls) == 2
    assert len(segmentations(stub)) == 1


@pytest.mark.parametrize(
    ("tag", "state"), [("anna", "annotated"), ("original", "annotated"), ("final", "proposed")]
)
def test_what_nobody_confirmed_as_final_is_not_sent(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset], tag: str, state: str
) -> None:
    link, image_id = linked(), cines[0].SeriesInstanceUID
    link.once(look=True)
    a_store(link).save_label(image_id, str(a_mask(link, image_id)), tag, record(state))
    link.once(look=False)
    assert link.status()["waiting"] == []
    assert (segmentations(stub), link.status()["problems"]) == ([], [])


def test_a_final_label_without_a_record_confirms_nothing_and_the_next_one_with_a_record_goes(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset]
) -> None:
    link, image_id = linked(), cines[0].SeriesInstanceUID
    link.once(look=True)
    store = a_store(link)
    store.save_label(image_id, str(a_mask(link, image_id)), "final", {"user": "anna"})
    assert link.status()["waiting"] == []  # before anything was tried: an archive may be away for long
    link.once(look=False)
    assert (segmentations(stub), link.status()["waiting"], link.status()["problems"]) == ([], [], [])
    store.save_label(image_id, str(a_mask(link, image_id)), "final", record())
    assert link.status()["waiting"] == [{"image": image_id, "version": 2}]
    link.once(look=False)
    (found,) = segmentations(stub)
    assert found.SeriesDescription == "FetalIQA final, version 2"


def test_a_label_that_was_sent_back_is_not_sent_until_it_is_accepted(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset]
) -> None:
    link, image_id = linked(), cines[0].SeriesInstanceUID
    link.once(look=True)
    store = a_store(link)
    store.save_label(image_id, str(a_mask(link, image_id)), "final", record())
    store.review_label(image_id, "final", 1, "returned", "bo", "too small")
    link.once(look=False)
    assert (segmentations(stub), link.status()["waiting"], link.status()["problems"]) == ([], [], [])
    link._wake.clear()
    store.review_label(image_id, "final", 1, "accepted", "bo", "")
    assert link._wake.is_set()
    assert link.status()["waiting"] == [{"image": image_id, "version": 1}]
    link.once(look=False)
    assert (len(segmentations(stub)), link.status()["waiting"]) == (1, [])


def test_a_label_that_was_sent_back_is_followed_by_its_corrected_version(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset]
) -> None:
    link, image_id = linked(), cines[0].SeriesInstanceUID
    link.once(look=True)
    store = a_store(link)
    store.save_label(image_id, str(a_mask(link, image_id)), "final", record())
    store.review_label(image_id, "final", 1, "returned", "bo", "too small")
    store.save_label(image_id, str(a_mask(link, image_id, 8)), "final", record())
    link.once(look=False)
    (found,) = segmentations(stub)
    assert found.SeriesDescription == "FetalIQA final, version 2"


def test_a_frame_whose_record_contradicts_its_mask_is_not_sent(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset]
) -> None:
    """The server refuses such a save; other writers of the folder may not."""
    link, image_id = linked(), cines[0].SeriesInstanceUID
    link.once(look=True)
    told = record("empty")["frame_record"]
    told["frames"]["4"] = {"state": "empty"}
    labels = LabelStore(link.folder / "label-versions")
    labels.save(image_id, "final", a_mask(link, image_id), parse_record(told, "test"), {})
    link.once(look=False)
    (found,) = segmentations(stub)
    (groups,) = found.PerFrameFunctionalGroupsSequence
    assert groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber == 5


def test_a_record_of_frames_that_are_not_there_stops_no_other_label(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset]
) -> None:
    link = linked()
    link.once(look=True)
    labels = LabelStore(link.folder / "label-versions")
    for name, frame in ((cines[0].SeriesInstanceUID, "77"), (cines[1].SOPInstanceUID, "2")):
        told = {"schema": 1, "frames": {frame: {"state": "annotated"}}}
        labels.save(name, "final", a_mask(link, name), parse_record(told, "test"), {})
    link.once(look=False)
    (problem,) = link.status()["problems"]
    assert "names frame 77" in problem
    assert len(segmentations(stub)) == 1


def test_the_folder_of_copies_is_exported_like_any_studies(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset], tmp_path: Path
) -> None:
    link, image_id = linked(), cines[0].SeriesInstanceUID
    link.once(look=True)
    a_store(link).save_label(image_id, str(a_mask(link, image_id)), "final", record())
    about = run_export(
        ExportSource(link.folder), tmp_path / "out", Selection(), ExportOptions(format="dicom-cine")
    )
    assert (about["counts"]["frames"], about["counts"]["states"]) == (1, {"annotated": 1})
    exported = pydicom.dcmread(tmp_path / "out" / "images" / f"{image_id}.dcm").pixel_array
    assert np.array_equal(exported, read_sweep(link.folder / f"{image_id}.dcm").frames[2])


def test_saving_a_final_label_wakes_the_link(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset]
) -> None:
    link, image_id = linked(), cines[0].SeriesInstanceUID
    link.once(look=True)
    store = a_store(link)
    assert not link._wake.is_set()
    store.save_label(image_id, str(a_mask(link, image_id)), "final", record())
    assert link._wake.is_set()


def test_a_new_machine_takes_the_last_label_back_and_one_of_here_is_never_replaced(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset], tmp_path: Path
) -> None:
    link, image_id = linked(), cines[0].SeriesInstanceUID
    link.once(look=True)
    store = a_store(link)
    told = record()
    told["frame_record"]["frames"]["2"]["plane"] = "suboptimal"
    told["frame_record"]["frames"]["4"] = {"state": "empty", "rater": "anna"}
    for row in (3, 8):
        store.save_label(image_id, str(a_mask(link, image_id, row)), "final", told)
        link.once(look=False)
    shutil.rmtree(link.folder)
    other = linked()
    other.once(look=True)
    assert other.status()["problems"] == []
    store = a_store(other)
    version = store.labels.current(image_id, "final")
    assert (version.version, version.record.known()) == (1, [2, 4])
    assert version.record.frames[2].plane == "suboptimal"
    assert version.record.frames[4].rater == "anna"
    masks = sitk.GetArrayFromImage(sitk.ReadImage(str(version.mask)))
    drawn = sitk.GetArrayFromImage(sitk.ReadImage(str(a_mask(other, image_id, 8))))
    assert np.array_equal(masks > 0, drawn > 0)
    assert store.has_label(image_id, "final")
    assert len(segmentations(stub)) == 2  # and it is not sent again
    before = stub.fetched()
    other.once(look=True)
    assert stub.fetched() == before  # nor are segmentations read again, though other images have no label
    store.remove_label(image_id, "final")
    other.once(look=True)
    assert store.labels.current(image_id, "final") is None


def test_a_label_does_not_wait_for_all_cines_to_be_copied(
    stub: StubArchive, linked: Callable[..., ArchiveLink], cines: list[pydicom.Dataset]
) -> None:
    link, image_id = linked(), cines[0].SeriesInstanceUID
    stub.instances = [cines[0]]
    link.once(look=True)
    a_store(link).save_label(image_id, str(a_mask(link, image_id)), "final", record())
    stub.instances += cines[1:]
    link.once(look=True)
    calls = [
        method if method == "POST" else "fetch"
        for method, path in stub.calls
        if "/instances/" in path or method == "POST"
    ]
    assert calls == ["fetch", "fetch", "POST", "fetch"]


def test_an_archive_that_is_slow_with_one_cine_gives_the_others(
    stub: StubArchive,
    linked: Callable[..., ArchiveLink],
    cines: list[pydicom.Dataset],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive_module, "PATIENT", (1.0, 0.3))
    stub.slow = cines[0].SOPInstanceUID
    link = linked()
    link.once(look=True)
    assert copies(link) == {cines[1].SOPInstanceUID, cines[2].SOPInstanceUID}
    (problem,) = link.status()["problems"]
    assert "silent for too long" in problem


def test_a_damaged_catalog_is_made_again_from_the_copies(
    stub: StubArchive, linked: Callable[..., ArchiveLink]
) -> None:
    link = linked()
    link.once(look=True)
    before = link.catalog.read().cines
    (link.folder / "archive.json").write_text('{"schema": 1, "cines": [')
    link.once(look=True)
    assert link.catalog.read().cines == before
    assert stub.fetched() == 3
    assert len(list(link.folder.glob("archive.json.damaged-*"))) == 1
    assert json.loads((link.folder / "archive.json").read_text())["schema"] == 1


@pytest.mark.parametrize(
    "studies",
    [
        "ftp://127.0.0.1/dicom-web",
        "http://",
        "http://127.0.0.1:notaport/x",
        "http://127.0.0.1/x?y=1",
        "http://anna:s3cret@127.0.0.1/dicom-web",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_login(studies: str) -> None:
    with pytest.raises(FetalIQAError) as refused:
        checked_address(studies)
    assert "s3cret" not in str(refused.value)


def test_each_archive_has_a_folder_of_its_own_that_others_may_not_read(tmp_path: Path) -> None:
    names = ("http://a/dicom-web", "http://a/dicom_web", "https://a/dicom-web")
    folders = {archive_folder(name, tmp_path) for name in names}
    assert len(folders) == 3
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_a_worker_calls_nobody(stub: StubArchive, tmp_path: Path) -> None:
    folder, archive = open_studies(stub.address, ServerConf(dicom_folder=tmp_path), read_only=True)
    assert (archive, stub.calls) == (None, [])
    assert Path(folder).parent == tmp_path


def test_the_server_ends_with_one_sentence_when_the_archive_does_not_answer(
    stub: StubArchive, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_USERNAME", "")
    stub.close()
    given = ["--studies", stub.address, "--conf", "dicom_folder", str(tmp_path), "--conf", "bundle", "demo"]
    assert serve.main(given) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: the archive {stub.address} does not answer; check that it runs")
    assert list(tmp_path.iterdir()) == []
