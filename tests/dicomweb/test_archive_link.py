"""A folder of copies and an archive that misbehaves: nothing is lost, nothing is written elsewhere."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from archive_links import a_store, copies
from cines import a_cine
from monailabel.config import settings
from stub_archive import StubArchive

from fetaliqa.errors import FetalIQAError
from monailabel_app import serve
from monailabel_app.lib.dicomweb import archive_client as archive_module
from monailabel_app.lib.dicomweb.archive_address import archive_folder, checked_address
from monailabel_app.lib.dicomweb.archive_sync import ArchiveSync
from monailabel_app.lib.startup.conf import ServerConf
from monailabel_app.lib.startup.studies_option import open_studies


def test_cines_are_copied_once_under_ids_that_stay(
    stub: StubArchive, linked: Callable[..., ArchiveSync], cines: list[pydicom.Dataset], tmp_path: Path
) -> None:
    link = linked()
    link.run_once(search=True)
    ids = {cines[0].SeriesInstanceUID, cines[1].SOPInstanceUID, cines[2].SOPInstanceUID}
    assert copies(link) == ids
    assert link.status()["problems"] == []
    assert stub.fetched() == 3
    stub.instances.append(
        a_cine(tmp_path / "4.dcm", np.full((3, 20, 30), 90, np.uint8), 4, cines[0].SeriesInstanceUID)
    )
    linked().run_once(search=True)
    assert copies(link) == {*ids, stub.instances[-1].SOPInstanceUID}  # the sole one of before keeps its name
    assert stub.fetched() == 4


def test_a_copy_that_was_taken_away_is_made_again_and_one_that_was_removed_is_not(
    linked: Callable[..., ArchiveSync], cines: list[pydicom.Dataset]
) -> None:
    link = linked()
    link.run_once(search=True)
    (link.folder / f"{cines[0].SeriesInstanceUID}.dcm").unlink()
    a_store(link).remove_image(cines[1].SOPInstanceUID)
    link.run_once(search=True)
    assert copies(link) == {cines[0].SeriesInstanceUID, cines[2].SOPInstanceUID}


@pytest.mark.parametrize("fault", ["other", "cut", "no pages"])
def test_a_bad_answer_leaves_no_file_and_the_next_look_makes_it_good(
    stub: StubArchive, linked: Callable[..., ArchiveSync], fault: str
) -> None:
    link = linked()
    stub.fault = fault
    link.run_once(search=True)
    if fault == "no pages":
        assert len(copies(link)) == 3
        return
    assert [path.name for path in link.folder.iterdir() if path.name != ".archive.lock"] == []
    assert len(link.status()["problems"]) == 3
    stub.fault = None
    link.run_once(search=True)
    assert (len(copies(link)), link.status()["problems"]) == (3, [])


def test_half_copies_of_killed_servers_go_and_those_just_being_made_stay(
    linked: Callable[..., ArchiveSync],
) -> None:
    link = linked()
    for name, age in ((".1.2.3.abc.dcm", 2 * 86400), (".1.2.4.abc.dcm", 60)):
        (link.folder / name).write_bytes(b"half")
        os.utime(link.folder / name, (time.time() - age,) * 2)
    link.run_once(search=True)
    assert [path.name for path in link.folder.glob(".*.dcm")] == [".1.2.4.abc.dcm"]


def test_more_series_than_a_page_holds_are_all_found(
    linked: Callable[..., ArchiveSync], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "PAGE", 1)
    link = linked()
    link.run_once(search=True)
    assert len(copies(link)) == 3


def test_what_is_too_large_is_left_where_it_is(stub: StubArchive, linked: Callable[..., ArchiveSync]) -> None:
    link = linked(max_bytes=2000)
    link.run_once(search=True)
    assert copies(link) == set()
    assert all("larger than the limit" in problem for problem in link.status()["problems"])


def test_names_that_are_no_uids_lead_nowhere(
    stub: StubArchive, linked: Callable[..., ArchiveSync], cines: list[pydicom.Dataset], tmp_path: Path
) -> None:
    stub.renamed = {cines[0].SeriesInstanceUID: "../../evil", cines[1].SOPInstanceUID: "../evil"}
    link = linked()
    link.run_once(search=True)
    assert copies(link) == set()  # of the series with a bad name, none
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copies"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("redirect", archive_module.ArchiveUnavailable),
        ("login", archive_module.ArchiveUnavailable),
        ("garbage", archive_module.ArchiveError),
    ],
)
def test_an_archive_that_is_none_is_told_in_one_sentence(
    stub: StubArchive, linked: Callable[..., ArchiveSync], fault: str, kind: type[FetalIQAError]
) -> None:
    other = StubArchive([])
    try:
        stub.fault, stub.elsewhere = fault, other.address.removesuffix("/dicom-web")
        with pytest.raises(FetalIQAError, match=re.escape(stub.address)) as refused:
            linked().archive.check()
        assert type(refused.value) is kind
        assert ("MONAI_LABEL_DICOMWEB_USERNAME" in str(refused.value)) == (fault == "login")
        assert other.calls == []
    finally:
        other.close()


def test_an_archive_that_goes_away_leaves_the_copies(
    stub: StubArchive, linked: Callable[..., ArchiveSync]
) -> None:
    link = linked()
    link.run_once(search=True)
    stub.close()
    link.run_once(search=True)
    assert stub.address in link.status()["problems"][0]
    assert len(copies(link)) == 3


def test_an_archive_that_is_slow_with_one_cine_gives_the_others(
    stub: StubArchive,
    linked: Callable[..., ArchiveSync],
    cines: list[pydicom.Dataset],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive_module, "FETCH_TIMEOUT", (1.0, 0.3))
    stub.slow = cines[0].SOPInstanceUID
    link = linked()
    link.run_once(search=True)
    assert copies(link) == {cines[1].SOPInstanceUID, cines[2].SOPInstanceUID}
    (problem,) = link.status()["problems"]
    assert cines[0].SOPInstanceUID in problem


def test_a_damaged_catalog_is_made_again_from_the_copies(
    stub: StubArchive, linked: Callable[..., ArchiveSync]
) -> None:
    link = linked()
    link.run_once(search=True)
    before = link.catalog.read().cines
    (link.folder / "archive.json").write_text('{"schema": 1, "cines": [')
    link.run_once(search=True)
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
    assert error.startswith(f"error: the archive {stub.address}")
    assert list(tmp_path.iterdir()) == []


def looks(stub: StubArchive) -> int:
    """How often the archive was asked for its cines."""
    return sum("Modality=US" in path and path.split("?")[0].endswith("/series") for _, path in stub.calls)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@pytest.mark.parametrize("label_saved", [False, True])
def test_a_look_that_is_asked_for_during_a_pass_follows_it(
    stub: StubArchive, linked: Callable[..., ArchiveSync], monkeypatch: pytest.MonkeyPatch, label_saved: bool
) -> None:
    link = linked()
    send, asked = link._upload.run, []

    def asked_meanwhile() -> list[str]:
        if not asked:
            asked.append(looks(stub))
            link.request_search()
            if label_saved:  # sending it in between takes the wake-up
                link.label_changed()
                link._send_meanwhile()
        return send()

    monkeypatch.setattr(link._upload, "run", asked_meanwhile)
    link.start()
    try:
        until(lambda: bool(asked) and looks(stub) > asked[0])
    finally:
        link.close()
