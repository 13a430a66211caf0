"""Studies of any name over HTTP: offered under that name, or named with the reason."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
import zipfile
from pathlib import Path
from threading import Event
from urllib.parse import quote

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import REPOSITORY, Server, write_case, write_mask
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from fetaliqa.labels import LabelStore
from monailabel_app.lib.datastore.studies_datastore import StudiesDatastore
from monailabel_app.lib.http.refusal import Refused
from monailabel_app.lib.startup.start_message import start_message

LIMIT = 8 * 1024**2
NAMES = ["größe", "gro\u0308ße", "孕妇　(2)", "75 % gain", "a+b&c=d#e;f", "q'u\"ote", "_under", "1.2.840.113"]
UNUSABLE = {
    "new\nline.mha": "new\\nline.mha",
    "back\\slash.mha": "back\\slash.mha",
    "over\u202eride.mha": "over\\u202eride.mha",
    " space.mha": " space.mha",
    "-rf.mha": "-rf.mha",
    ".hidden.mha": ".hidden.mha",
    "x" * 220 + ".mha": "x" * 220 + ".mha",
}


def a_cine(path: Path, sop_class: str = "1.2.840.10008.5.1.4.1.1.3.1") -> Path:
    """Three frames in DICOM as a scanner's disk has them, without a suffix."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = 3, 16, 20
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = np.full((3, 16, 20), 90, np.uint8).tobytes()
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, write_like_original=False)
    return path


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "Studien [1] größe"
    folder.mkdir()
    return folder


def opened(folder: Path) -> StudiesDatastore:
    return StudiesDatastore(str(folder), max_file_bytes=LIMIT, auto_reload=False)


def test_what_the_disk_holds_is_offered_under_its_name_or_named_with_the_reason(studies: Path) -> None:
    template = studies.parent / "template.mha"
    write_case(template, 2)
    for name in (*NAMES, "A", "a"):
        shutil.copy(template, studies / f"{name}.mha")
    for name in UNUSABLE:
        shutil.copy(template, studies / name)
    shutil.copy(template, studies / "UPPER.MHA")
    a_cine(studies / "IM000001"), a_cine(studies / "1.3.6.1.4")
    a_cine(studies / "DICOMDIR", "1.2.840.10008.1.3.10"), a_cine(studies / "SR1", "1.2.840.10008.5.1.4.1.1.88.33")
    write_case(studies / "twice.mha", 2), write_case(studies / "twice.nrrd", 2)
    (studies / "empty.mha").touch(), (studies / "gone.mha").symlink_to("nowhere"), (studies / "x.xyz").touch()
    (studies / "folder.mha").mkdir(), (studies / "Thumbs.db").touch(), (studies / "notes.txt").touch()
    (studies / "link.mha").symlink_to(template)
    store = opened(studies)
    offered = {*NAMES, "A", "a", "UPPER", "IM000001", "1.3.6.1.4", "twice", "link"}
    assert set(store.list_images()) == offered
    told = {one["file"]: one["reason"] for one in store.not_offered()}
    others = {"SR1", "twice.nrrd", "empty.mha", "gone.mha", "x.xyz", "folder.mha"}
    assert set(told) == {*UNUSABLE.values(), *others}
    assert "twice.mha has the same id" in told["twice.nrrd"]
    assert store.status()["not_offered"] == store.not_offered()
    assert all(store.image_path(name).is_file() for name in offered)
    assert store.image_path("link").name == "link.mha"  # not what it leads to
    said = start_message("http://127.0.0.1:8000", ["größe & co"], ["fetalclip_seg"], store.not_offered())
    assert "?image=gr%C3%B6%C3%9Fe%20%26%20co&output=json" in said
    assert "Not offered: -rf.mha: its name begins with '-'" in said
    assert "3 more files; http://127.0.0.1:8000/info/ lists them all" in said
    assert said.isascii() or "\u202e" not in said


def test_the_label_of_a_study_is_not_shown_on_another_that_takes_its_id(studies: Path) -> None:
    write_case(studies / "case.nrrd", 4)
    opened(studies)
    write_case(studies / "case.mha", 2)  # comes first by name
    store = opened(studies)
    assert store.image_path("case").name == "case.nrrd"
    assert [one["file"] for one in store.not_offered()] == ["case.mha"]


def test_files_that_arrive_later_are_found_whatever_their_suffix_and_whatever_the_folder_is_called(
    studies: Path,
) -> None:
    store = StudiesDatastore(str(studies), max_file_bytes=LIMIT, auto_reload=True)
    try:
        write_case(studies.parent / "template.mha", 2)
        shutil.copy(studies.parent / "template.mha", studies / "LATER.MHA")
        a_cine(studies / "IM000002")
        for _ in range(200):
            if {"LATER", "IM000002"} <= set(store.list_images()):
                break
            Event().wait(0.05)
        assert {"LATER", "IM000002"} <= set(store.list_images())
        assert store.not_offered() == []
    finally:
        store.close()


def test_an_upload_has_the_name_that_it_is_given_and_none_that_is_there_in_another_form(
    studies: Path, tmp_path: Path
) -> None:
    store = opened(studies)
    write_case(tmp_path / "new.mha", 2)
    for name in ("größe", "孕妇 75 %"):
        assert store.add_image(name, str(tmp_path / "new.mha"), {}) == name
    assert store.add_image("", str(a_cine(tmp_path / "1.2.840.7")), {}) == "1.2.840.7"
    assert (studies / "1.2.840.7.dcm").is_file()  # clients that get it go by its suffix
    with pytest.raises(Refused, match="this id is in use already"):
        store.add_image("gro\u0308ße", str(tmp_path / "new.mha"), {})
    for name in ("a/b", "..", "a\nb", "x" * 201, "DICOMDIR"):
        with pytest.raises(Refused) as refused:
            store.add_image(name, str(a_cine(tmp_path / "IM1")), {})
        assert refused.value.http_status == 400
    assert sorted(store.list_images()) == ["1.2.840.7", "größe", "孕妇 75 %"]
    with pytest.raises(Refused, match=r"but one whose name is 'gr\\xf6\\xdfe', in another form of Unicode"):
        store.image_path("gro\u0308ße")


@pytest.mark.parametrize("name", ["größe 孕妇　75 % a+b&c=d#e", "gro\u0308ße q'u\"o;te"])
def test_a_study_of_any_name_goes_all_the_way(server: Server, tmp_path: Path, name: str) -> None:
    write_case(server.images / f"{name}.mha", 4, seed=31)
    given = quote(name, safe="")
    wait_for(server, given)
    try:
        params, content, part = server.infer(f"image={given}", {"result_extension": ".mha"}).parts()
        assert params["fetaliqa"]["case_id"] == name
        assert content
        assert part.isascii()
        mask = write_mask(tmp_path / "mask.mha", server.images / f"{name}.mha").read_bytes()
        record = {"schema": 1, "frames": {"0": {"state": "annotated"}}}
        saved = server.call(
            "PUT",
            f"/datastore/label?image={given}&tag=final",
            files={"label": ("label.mha", mask)},
            data={"params": json.dumps({"frame_record": record})},
        )
        assert (saved.status, saved.json()["image"]) == (200, name)
        for target in (f"/datastore/label?label={given}&tag=final", f"/datastore/image?image={given}"):
            sent = server.raw("GET", target)
            disposition = sent.headers["content-disposition"]
            assert sent.status == 200
            assert disposition.isascii()
            assert f"filename*=UTF-8''{given}.mha" in disposition
            assert disposition.count('"') == 2
        assert [one["version"] for one in server.raw("GET", history(given)).json()] == [1]
        assert LabelStore(server.studies / "label-versions").current(name, "final").record is not None
        assert name in server.raw("GET", "/datastore/?output=all").json()["objects"]
        assert name in exported(server)
        used = dict.fromkeys(server.raw("GET", f"/datastore/image/info?image={given}").json())
        assert "path" in used
    finally:
        assert server.raw("DELETE", f"/datastore/image?id={given}").status == 200
    assert server.raw("HEAD", f"/datastore/image?image={given}").status == 404


def test_names_that_are_not_offered_are_told_at_start_and_to_clients(server: Server) -> None:
    told = {one["file"]: one["reason"] for one in server.raw("GET", "/info/").json()["not_offered"]}
    assert told["left\\nout.mha"] == "its name contains a control character (U+000A); rename it"
    assert server.raw("GET", "/datastore/?output=stats").json()["not_offered"]
    log = (server.root / "server.log").read_text()
    assert "Not offered: left\\nout.mha: its name contains a control character" in log
    assert "\nout.mha" not in log


def test_our_slicer_module_takes_a_study_of_any_name(server: Server, tmp_path: Path) -> None:
    sys.path.insert(0, str(REPOSITORY / "slicer_module" / "FetalIQA"))
    from FetalIQALib.http_client import HttpClient
    from FetalIQALib.server_client import ServerClient

    name, never = "孕妇 75 % größe&+#", Event()
    write_case(tmp_path / "template.mha", 3, seed=32)
    shutil.copy(tmp_path / "template.mha", server.images / f"{name}.MHA")
    wait_for(server, quote(name, safe=""))
    client = ServerClient(HttpClient(server.url))
    try:
        assert any(file == "left\\nout.mha" for file, _ in client.info(never).not_offered)
        (entry,) = [entry for entry in client.cases(never) if entry.case == name]
        image, _ = client.download_image(name, entry.suffix, tmp_path, never)
        assert sitk.ReadImage(str(image)).GetSize() == (64, 48, 3)
        write_mask(tmp_path / "mask.mha", image)
        record = {"frame_record": {"schema": 1, "frames": {"0": {"state": "annotated"}}}}
        assert client.save_label(name, "anna", tmp_path / "mask.mha", record, never) == 1
        file, saved = client.label(name, "anna", tmp_path, never)
        assert (file.suffix, saved.version) == (".mha", 1)
        (entry,) = [entry for entry in client.worklist("anna", never) if entry.case == name]
        assert (entry.versions, entry.last["version"]) == ({"anna": 1}, 1)
    finally:
        server.raw("DELETE", f"/datastore/image?id={quote(name, safe='')}")


def test_a_dicom_file_without_a_suffix_can_be_sent_and_an_index_or_another_file_cannot(
    server: Server, tmp_path: Path
) -> None:
    cine = a_cine(tmp_path / "IM1").read_bytes()
    index = a_cine(tmp_path / "index", "1.2.840.10008.1.3.10").read_bytes()
    assert server.infer("output=json", files={"file": ("IM000007", cine)}).status == 200
    sent = server.call("PUT", "/datastore/image", files={"file": ("1.2.840.9", cine)})
    assert sent.json() == {"image": "1.2.840.9"}
    assert (
        'filename="1.2.840.9.dcm"'
        in server.raw("GET", "/datastore/image?image=1.2.840.9").headers["content-disposition"]
    )
    assert server.raw("DELETE", "/datastore/image?id=1.2.840.9").status == 200
    for name, content in (("DICOMDIR", index), ("IM1", index), ("notes", b"text"), ("a\u202eb.mha", cine)):
        for target, field in (("/datastore/image", "file"), ("/session/", "files")):
            if (name, target) == ("IM1", "/session/") or (name, target) == ("DICOMDIR", "/session/"):
                continue  # a session's file is read when it is assessed
            assert server.call("PUT", target, files={field: (name, content)}).status == 400, (name, target)
    frames = [("files", (f"IM{number}", cine)) for number in (1,)] + [("files", ("DICOMDIR", index))]
    session = server.call("PUT", "/session/", files=frames).json()["session_id"]
    assert server.infer(f"session_id={session}&output=json").status in (200, 400)
    assert server.raw("DELETE", f"/session/{session}").status == 200


def history(given: str) -> str:
    return f"/datastore/label/history?label={given}&tag=final"


def wait_for(server: Server, given: str) -> None:
    """Wait until the server has noticed a new file."""
    for _ in range(200):
        if server.raw("HEAD", f"/datastore/image?image={given}").status == 200:
            return
        Event().wait(0.05)
    pytest.fail(f"{given} is not offered")


def exported(server: Server) -> set[str]:
    """Cases of an export, by its manifest in the zip."""
    job = server.call("POST", "/export/", json={"format": "nnunet"}).json()["id"]
    try:
        for _ in range(400):
            status = server.raw("GET", f"/export/{job}").json()
            if status["status"] != "RUNNING":
                break
            Event().wait(0.05)
        assert status["status"] == "DONE", status
        with zipfile.ZipFile(io.BytesIO(server.raw("GET", f"/export/{job}/zip").body)) as archive:
            assert all(one.isascii() for one in archive.namelist())
            rows = csv.DictReader(io.StringIO(archive.read("manifest.csv").decode()))
            return {row["case_id"] for row in rows}
    finally:
        server.raw("DELETE", f"/export/{job}")
