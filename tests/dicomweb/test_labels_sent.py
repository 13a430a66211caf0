"""Final labels on their way into an archive, and back: each once, and only what somebody confirmed."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from archive_links import a_mask, a_store, record, reports, segmentations
from cines import SPACING
from report_items import flat, named, referenced
from stub_archive import StubArchive

from fetaliqa.export.export_options import ExportOptions
from fetaliqa.export.export_run import run_export
from fetaliqa.export.export_source import ExportSource
from fetaliqa.export.frame_selection import Selection
from fetaliqa.labels import LabelStore
from fetaliqa.labels.frame_record import parse_record
from fetaliqa.sweep import read_masks, read_sweep
from monailabel_app.lib.dicomweb import label_download
from monailabel_app.lib.dicomweb.archive_sync import ArchiveSync


@pytest.mark.parametrize("fault", ["refuse", "failed"])
def test_a_label_that_the_archive_refuses_waits_and_is_sent_later(
    stub: StubArchive, looked: tuple[ArchiveSync, str], linked: Callable[..., ArchiveSync], fault: str
) -> None:
    link, image_id = looked
    store = a_store(link)
    stub.fault = fault
    store.save_label(image_id, str(a_mask(link, image_id)), "final", record())
    link.run_once(search=False)
    assert link.status()["waiting"] == [{"image": image_id, "version": 1}]
    assert len(link.status()["problems"]) == 1
    assert store.labels.latest(image_id, "final") == 1
    assert segmentations(stub) == []
    stub.fault = None
    again = linked()  # as after a restart: nothing was written down but the label
    again.run_once(search=True)
    assert again.status()["waiting"] == []
    (found,) = segmentations(stub)
    assert a_store(again).get_label_info(image_id, "final")["archive"]["SOPInstanceUID"] == found.SOPInstanceUID


def test_a_label_is_sent_once_whoever_saved_it(stub: StubArchive, looked: tuple[ArchiveSync, str]) -> None:
    link, image_id = looked
    told = parse_record(record()["frame_record"], "test")
    LabelStore(link.folder / "label-versions").save(image_id, "final", a_mask(link, image_id), told, {})
    for _ in range(2):
        link.run_once(search=True)
    assert len(segmentations(stub)) == 1
    (link.folder / "archive.json").unlink()  # what was sent is forgotten: it is sent again, and is the same
    link.run_once(search=True)
    assert sum(method == "POST" for method, _ in stub.calls) == 4  # segmentation and report, each twice
    assert (len(segmentations(stub)), len(reports(stub))) == (1, 1)


@pytest.mark.parametrize(
    ("tag", "state"), [("anna", "annotated"), ("original", "annotated"), ("final", "proposed")]
)
def test_what_nobody_confirmed_as_final_is_not_sent(
    stub: StubArchive, looked: tuple[ArchiveSync, str], tag: str, state: str
) -> None:
    link, image_id = looked
    a_store(link).save_label(image_id, str(a_mask(link, image_id)), tag, record(state))
    link.run_once(search=False)
    assert link.status()["waiting"] == []
    assert (segmentations(stub), link.status()["problems"]) == ([], [])


def test_a_final_label_without_a_record_confirms_nothing_and_the_next_one_with_a_record_goes(
    stub: StubArchive, looked: tuple[ArchiveSync, str]
) -> None:
    link, image_id = looked
    store = a_store(link)
    store.save_label(image_id, str(a_mask(link, image_id)), "final", {"user": "anna"})
    assert link.status()["waiting"] == []  # before anything was tried: an archive may be away for long
    link.run_once(search=False)
    assert (segmentations(stub), link.status()["waiting"], link.status()["problems"]) == ([], [], [])
    store.save_label(image_id, str(a_mask(link, image_id)), "final", record())
    assert link.status()["waiting"] == [{"image": image_id, "version": 2}]
    link.run_once(search=False)
    (found,) = segmentations(stub)
    assert found.SeriesDescription == "FetalIQA final, version 2"


def test_a_copy_is_labelled_by_clients_that_read_another_spacing_and_confirmed_labels_are_sent(
    stub: StubArchive, looked: tuple[ArchiveSync, str]
) -> None:
    link, image_id = looked
    store = a_store(link)
    file = a_mask(link, image_id)
    mask = sitk.ReadImage(str(file))
    mask.SetSpacing((1, 1, 1))  # GDCM's, of every cine with ultrasound regions
    mask.SetOrigin((5, 5, 5))
    sitk.WriteImage(mask, str(file))
    store.save_label(image_id, str(file), "final", {"client_id": "stock"})
    label = store.labels.current(image_id, "final")
    sweep = read_sweep(link.folder / f"{image_id}.dcm")
    assert np.array_equal(read_masks(label.mask, sweep), sitk.GetArrayFromImage(mask))
    assert link.status()["waiting"] == []  # nobody confirmed it yet
    link._wake.clear()
    assert store.writer.confirm(image_id, "final", None, "bo").record.frames[2].rater == "bo"
    assert link._wake.is_set()
    link.run_once(search=False)
    (found,) = segmentations(stub)
    assert found.SeriesDescription == "FetalIQA final, version 2"
    assert store.get_image_info(image_id)["grid"]["spacing_mm"] == list(sweep.spacing)


def test_a_label_that_was_sent_back_is_not_sent_until_it_is_accepted(
    stub: StubArchive, looked: tuple[ArchiveSync, str]
) -> None:
    link, image_id = looked
    store = a_store(link)
    store.save_label(image_id, str(a_mask(link, image_id)), "final", record())
    store.writer.review(image_id, "final", 1, "returned", "bo", "too small")
    link.run_once(search=False)
    assert (segmentations(stub), link.status()["waiting"], link.status()["problems"]) == ([], [], [])
    link._wake.clear()
    store.writer.review(image_id, "final", 1, "accepted", "bo", "")
    assert link._wake.is_set()
    assert link.status()["waiting"] == [{"image": image_id, "version": 1}]
    link.run_once(search=False)
    assert (len(segmentations(stub)), link.status()["waiting"]) == (1, [])


def test_a_label_that_was_sent_back_is_followed_by_its_corrected_version(
    stub: StubArchive, looked: tuple[ArchiveSync, str]
) -> None:
    link, image_id = looked
    store = a_store(link)
    store.save_label(image_id, str(a_mask(link, image_id)), "final", record())
    store.writer.review(image_id, "final", 1, "returned", "bo", "too small")
    store.save_label(image_id, str(a_mask(link, image_id, 8)), "final", record())
    link.run_once(search=False)
    (found,) = segmentations(stub)
    assert found.SeriesDescription == "FetalIQA final, version 2"


def test_a_frame_whose_record_contradicts_its_mask_is_not_sent(
    stub: StubArchive, looked: tuple[ArchiveSync, str]
) -> None:
    """The server refuses such a save; other writers of the folder may not."""
    link, image_id = looked
    told = record("empty")["frame_record"]
    told["frames"]["4"] = {"state": "empty"}
    labels = LabelStore(link.folder / "label-versions")
    labels.save(image_id, "final", a_mask(link, image_id), parse_record(told, "test"), {})
    link.run_once(search=False)
    (found,) = segmentations(stub)
    (groups,) = found.PerFrameFunctionalGroupsSequence
    assert groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber == 5


def test_a_record_of_frames_that_are_not_there_stops_no_other_label(
    stub: StubArchive, linked: Callable[..., ArchiveSync], cines: list[pydicom.Dataset]
) -> None:
    link = linked()
    link.run_once(search=True)
    labels = LabelStore(link.folder / "label-versions")
    for name, frame in ((cines[0].SeriesInstanceUID, "77"), (cines[1].SOPInstanceUID, "2")):
        told = {"schema": 1, "frames": {frame: {"state": "annotated"}}}
        labels.save(name, "final", a_mask(link, name), parse_record(told, "test"), {})
    link.run_once(search=False)
    (problem,) = link.status()["problems"]
    assert "frame 77" in problem
    assert len(segmentations(stub)) == 1


def test_the_folder_of_copies_is_exported_like_any_studies(
    looked: tuple[ArchiveSync, str], tmp_path: Path
) -> None:
    link, image_id = looked
    a_store(link).save_label(image_id, str(a_mask(link, image_id)), "final", record())
    about = run_export(
        ExportSource(link.folder), tmp_path / "out", Selection(), ExportOptions(format="dicom-cine")
    )
    assert (about["counts"]["frames"], about["counts"]["states"]) == (1, {"annotated": 1})
    exported = pydicom.dcmread(tmp_path / "out" / "images" / f"{image_id}.dcm").pixel_array
    assert np.array_equal(exported, read_sweep(link.folder / f"{image_id}.dcm").frames[2])


def test_saving_a_final_label_wakes_the_link(looked: tuple[ArchiveSync, str]) -> None:
    link, image_id = looked
    store = a_store(link)
    assert not link._wake.is_set()
    store.save_label(image_id, str(a_mask(link, image_id)), "final", record())
    assert link._wake.is_set()


def test_a_new_machine_takes_the_last_label_back_and_one_of_here_is_never_replaced(
    stub: StubArchive, looked: tuple[ArchiveSync, str], linked: Callable[..., ArchiveSync], tmp_path: Path
) -> None:
    link, image_id = looked
    store = a_store(link)
    told = record()
    told["frame_record"]["frames"]["2"]["plane"] = "suboptimal"
    told["frame_record"]["frames"]["4"] = {"state": "empty", "rater": "anna"}
    for row in (3, 8):
        store.save_label(image_id, str(a_mask(link, image_id, row)), "final", told)
        link.run_once(search=False)
    shutil.rmtree(link.folder)
    other = linked()
    other.run_once(search=True)
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
    other.run_once(search=True)
    assert stub.fetched() == before  # nor are segmentations read again, though other images have no label
    store.remove_label(image_id, "final")
    other.run_once(search=True)
    assert store.labels.current(image_id, "final") is None


def test_a_label_does_not_wait_for_all_cines_to_be_copied(
    stub: StubArchive, linked: Callable[..., ArchiveSync], cines: list[pydicom.Dataset]
) -> None:
    link, image_id = linked(), cines[0].SeriesInstanceUID
    stub.instances = [cines[0]]
    link.run_once(search=True)
    a_store(link).save_label(image_id, str(a_mask(link, image_id)), "final", record())
    stub.instances += cines[1:]
    link.run_once(search=True)
    calls = [
        method if method == "POST" else "fetch"
        for method, path in stub.calls
        if "/instances/" in path or method == "POST"
    ]
    assert calls == ["fetch", "fetch", "POST", "POST", "fetch"]  # segmentation and report


def test_labels_are_taken_back_one_at_a_time(
    linked: Callable[..., ArchiveSync], cines: list[pydicom.Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive may hold thousands of segmentations, and more in pixels than memory."""
    link = linked()
    link.run_once(search=True)
    store = a_store(link)
    images = [cines[0].SeriesInstanceUID, cines[1].SOPInstanceUID, cines[2].SOPInstanceUID]
    for name in images:
        store.save_label(name, str(a_mask(link, name)), "final", record())
    link.run_once(search=False)
    shutil.rmtree(link.folder)
    held: list[weakref.ref[Any]] = []
    most = 0

    def watched(*args: Any, **how: Any) -> Any:
        nonlocal most
        found = pydicom.dcmread(*args, **how)
        if "PixelData" in found:
            held.append(weakref.ref(found))
            gc.collect()
            most = max(most, sum(one() is not None for one in held))
        return found

    monkeypatch.setattr(label_download, "dcmread", watched)
    other = linked()
    other.run_once(search=True)
    labels = LabelStore(other.folder / "label-versions")
    assert [labels.latest(name, "final") for name in images] == [1, 1, 1]
    assert most == 1
    assert list(other.folder.glob(".segmentation-*")) == []


def test_a_report_says_the_size_of_the_confirmed_outline_and_who_confirmed_it(
    stub: StubArchive, looked: tuple[ArchiveSync, str], cines: list[pydicom.Dataset]
) -> None:
    link, image_id = looked
    store = a_store(link)
    told = record()
    told["frame_record"]["frames"]["4"] = {"state": "empty", "rater": "bo"}
    store.save_label(image_id, str(a_mask(link, image_id)), "final", told)
    link.run_once(search=False)
    (report,), (segmentation,) = reports(stub), segmentations(stub)
    (cine,) = (one for one in cines if one.SeriesInstanceUID == image_id)
    assert (report.StudyInstanceUID, report.PatientID) == (cine.StudyInstanceUID, cine.PatientID)
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    (other,) = report.PertinentOtherEvidenceSequence
    (series,) = other.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
    items = list(flat(report))
    assert [str(one.PersonName) for one in items if one.ValueType == "PNAME"] == ["anna^"]
    images = {(one.ReferencedSOPInstanceUID, one.ReferencedFrameNumber) for one in referenced(report)}
    assert images == {(cine.SOPInstanceUID, 3)}  # frame 2 of the mask; the empty frame 4 has nothing to report
    areas = [one.MeasuredValueSequence[0].NumericValue for one in items if named(one) == "Area"]
    assert areas == [pytest.approx(9 * 16 * SPACING[0] * SPACING[1], abs=0.01)]
    archived = store.get_label_info(image_id, "final")["archive"]
    assert archived["ReportInstanceUID"] == report.SOPInstanceUID


def test_a_label_without_outlines_has_a_segmentation_and_no_report(
    stub: StubArchive, looked: tuple[ArchiveSync, str]
) -> None:
    link, image_id = looked
    store, told = (
        a_store(link),
        {"frame_record": {"schema": 1, "frames": {"4": {"state": "empty", "rater": "bo"}}}},
    )
    store.save_label(image_id, str(a_mask(link, image_id)), "final", told)
    link.run_once(search=False)
    assert (len(segmentations(stub)), len(reports(stub))) == (1, 0)
    assert "ReportInstanceUID" not in store.get_label_info(image_id, "final")["archive"]
