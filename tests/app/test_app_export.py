"""An export over HTTP: progress, a zip, one at a time, no path taken, nothing left behind."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from app_harness import REPOSITORY, Server, case_pixels, write_case, write_mask

SECONDS = 60


def wait(server: Server, job: str) -> dict:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        told = server.raw("GET", f"/export/{job}").json()
        if told["status"] != "RUNNING":
            return told
        time.sleep(0.1)
    pytest.fail(f"export {job} did not end: {told}")


@pytest.fixture(scope="module")
def exporting(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server with two labelled images more: export_a, and export_b, which is larger than an export may be."""
    folder = tmp_path_factory.mktemp("exporting")
    for name, frames in (("export_a", 12), ("export_b", 500)):
        image = folder / f"{name}.mha"
        write_case(image, frames, seed=9)
        answer = server.call("PUT", f"/datastore/?image={name}", files={"file": (image.name, image.read_bytes())})
        assert answer.status == 200, answer.body
        states = (
            {0: "annotated", 2: "empty"}
            if frames == 12
            else {0: "annotated"} | dict.fromkeys(range(1, 500), "empty")
        )
        record = {
            "schema": 1,
            "frames": {str(f): {"state": state, "rater": "anna"} for f, state in states.items()},
        }
        mask = write_mask(folder / f"{name}.nii.gz", image)
        answer = server.call(
            "PUT",
            f"/datastore/label?image={name}",
            files={"label": (mask.name, mask.read_bytes())},
            data={"params": json.dumps({"frame_record": record})},
        )
        assert answer.status == 200, answer.body
    yield server
    for name in ("export_a", "export_b"):
        assert server.raw("DELETE", f"/datastore/?id={name}").status == 200


def test_an_export_shows_progress_and_gives_a_zip_that_goes_when_it_is_told(exporting: Server) -> None:
    before = exporting.leftovers()
    body = {"format": "nnunet", "selection": {"cases": ["export_a"]}, "name": "Over HTTP", "report": True}
    started = exporting.call("POST", "/export/", json=body)
    assert started.status == 200, started.body
    job = started.json()["id"]
    told = wait(exporting, job)
    assert (told["status"], told["cases"], told["total"], told["frames"]) == ("DONE", 1, 1, 2), told
    answer = exporting.raw("GET", f"/export/{job}/zip")
    assert answer.status == 200
    assert len(answer.body) == told["bytes"] == int(answer.headers["content-length"])
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    assert {"README.md", "report.html", "manifest.csv", "Dataset501_FetalIQA/dataset.json"} <= set(files)
    for line in files["checksums.sha256"].decode().splitlines():
        digest, name = line.split("  ", 1)
        assert hashlib.sha256(files[name]).hexdigest() == digest
    rows = list(csv.DictReader(io.StringIO(files["manifest.csv"].decode())))
    assert [(row["frame"], row["state"], row["rater"]) for row in rows] == [
        ("0", "annotated", "anna"),
        ("2", "empty", "anna"),
    ]
    image = cv2.imdecode(np.frombuffer(files[rows[0]["image"]], np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(image, case_pixels(12, seed=9)[0])
    assert str(exporting.root).encode() not in b"".join(files.values())  # no path of the server leaves
    assert exporting.raw("DELETE", f"/export/{job}").json()["status"] == "REMOVED"
    assert exporting.raw("GET", f"/export/{job}").status == 404
    assert exporting.leftovers() == before == []


def test_a_second_export_waits_for_the_first_and_a_running_one_can_be_stopped(exporting: Server) -> None:
    body = {"format": "tiff", "selection": {"states": ["proposed"], "cases": ["long"]}, "model": "fetalclip_seg"}
    job = exporting.call("POST", "/export/", json=body).json()["id"]
    second = exporting.call("POST", "/export/", json={})
    assert second.status == 429
    assert f"export {job} is running" in second.detail
    early = exporting.raw("GET", f"/export/{job}/zip")
    assert (early.status, "RUNNING" in early.detail) == (409, True)
    assert exporting.raw("DELETE", f"/export/{job}").json()["status"] == "STOPPING"
    assert wait(exporting, job)["status"] == "STOPPED"
    assert exporting.leftovers() == []


def test_an_export_that_grows_too_large_ends_and_leaves_nothing(exporting: Server) -> None:
    job = exporting.call("POST", "/export/", json={"selection": {"cases": ["export_b"]}}).json()["id"]
    told = wait(exporting, job)
    assert told["status"] == "ERROR"
    assert "larger than the limit of 1 MiB" in told["message"]
    assert exporting.leftovers() == []
    assert exporting.raw("GET", f"/export/{job}/zip").status == 409


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"out": "/etc/evil"}, 400, "unknown key 'out'"),
        ({"split": "/etc/passwd"}, 400, "unknown key 'split'"),
        ({"pseudonyms": "/etc/passwd"}, 400, "unknown key 'pseudonyms'"),
        ({"format": "../png"}, 400, "unknown format"),
        ({"format": 3}, 400, "format is '3'"),
        ({"selection": {"top": -1}}, 400, "top is -1"),
        ({"selection": {"cases": ["../../etc"]}}, 200, "no such case"),
        ({"classes": "all"}, 400, "classes 'all'"),
        ({"report": "yes"}, 400, "report is 'yes'"),
        ({"model": "/models/evil"}, 404, "there is no model"),
        ([1], 400, "must be a JSON object"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_with_a_sentence(
    exporting: Server, body: object, status: int, words: str
) -> None:
    answer = exporting.call("POST", "/export/", json=body)
    assert answer.status == status
    if status == 200:
        told = wait(exporting, answer.json()["id"])
        assert told["status"] == "ERROR"
        assert words in told["message"]
        assert str(exporting.root) not in told["message"]
    else:
        assert words in answer.detail
    assert exporting.leftovers() == []


def test_ids_of_no_export_are_not_found(exporting: Server) -> None:
    for job in ("nope", "0" * 32, "%2e%2e%2fsecret.mha"):
        assert exporting.raw("GET", f"/export/{job}").status in (400, 404)
        assert exporting.raw("GET", f"/export/{job}/zip").status in (400, 404)
        assert exporting.raw("DELETE", f"/export/{job}").status in (400, 404)


def test_the_server_removes_a_finished_export_when_it_ends(tmp_path: Path) -> None:
    from fetaliqa.datasets.acouslic_layout import write_stack
    from monailabel_app.lib.tasks.export_task import ExportTasks

    stack = case_pixels(4)
    (tmp_path / "images").mkdir()
    write_stack(tmp_path / "images" / "a.mha", stack, (0.3, 0.3))
    masks = np.zeros_like(stack)
    masks[1, 10:20, 10:20] = 1
    write_stack(tmp_path / "labels" / "a.mha", masks, (0.3, 0.3))
    tasks = ExportTasks(tmp_path, 2**30)
    job = tasks.start({}, {})
    job.thread.join()
    assert (job.status, job.zip.is_file()) == ("DONE", True), job.message
    first = job.zip.read_bytes()
    again = tasks.start({}, {})
    again.thread.join()
    assert not job.folder.exists()
    with zipfile.ZipFile(again.zip) as new, zipfile.ZipFile(io.BytesIO(first)) as old:
        assert new.namelist() == old.namelist()
        assert all(new.read(n) == old.read(n) for n in new.namelist() if n != "dataset.json")
    tasks.close()
    assert not again.folder.exists()


HOLDER = """
import sys, time
from monailabel_app.lib.files.locked_folder import LockedFolder
held = LockedFolder()
print(held.path, flush=True)
time.sleep(60)
"""


def test_what_a_killed_server_left_is_removed_and_what_a_living_one_has_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monailabel_app.lib.files.locked_folder import PREFIX, LockedFolder, remove_stale

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        left = Path(holder.stdout.readline().strip())
        (left / "export.zip").write_bytes(b"zip")
        mine, new, old = LockedFolder(), tmp_path / f"{PREFIX}new", tmp_path / f"{PREFIX}old"
        other = tmp_path / f"{PREFIX}of-a-person"
        for folder in (new, old, other):
            folder.mkdir()
        (tmp_path / f"{PREFIX}link").symlink_to(other)
        (other / "file").write_text("not ours")
        for folder in (old, other):
            os.utime(folder, (time.time() - 7200,) * 2)
        assert remove_stale() == 1  # the old one, which is nobody's
        assert (left / "export.zip").exists()
        holder.kill()
        holder.wait(10)
        assert remove_stale() == 1
    finally:
        holder.kill()
        holder.wait(10)
    assert [left.exists(), old.exists()] == [False, False]
    assert [folder.exists() for folder in (mine.path, new, other)] == [True, True, True]
    mine.remove()
    assert not mine.path.exists()


def test_a_zip_that_is_removed_while_it_is_fetched_is_told_in_a_sentence_or_sent_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from monailabel_app.lib.access.access_gate import AccessGate
    from monailabel_app.lib.access.access_rules import AccessRules
    from monailabel_app.lib.access.login_service import NoLogin
    from monailabel_app.lib.api import export_routes as export
    from monailabel_app.lib.http.error_replies import add_error_replies

    job = SimpleNamespace(status="DONE", message=None, zip=tmp_path / "export.zip")
    app = SimpleNamespace(exports=lambda: SimpleNamespace(job=lambda name: job))
    monkeypatch.setattr(export, "served", lambda: app)
    front = FastAPI()
    add_error_replies(front)
    front.include_router(export.router)
    front.add_middleware(AccessGate, login=NoLogin(), rules=AccessRules([export.router]))
    client = TestClient(front, raise_server_exceptions=False)
    gone = client.get("/export/abc/zip")
    assert (gone.status_code, set(gone.json())) == (404, {"detail"})
    job.zip.write_bytes(bytes(range(256)) * 20000)
    sent = export.export_zip("abc")
    job.zip.unlink()  # a DELETE between the answer's head and its body
    assert sent.headers["content-length"] == str(256 * 20000)

    async def body() -> bytes:
        return b"".join([chunk async for chunk in sent.body_iterator])

    assert asyncio.run(body()) == bytes(range(256)) * 20000


def test_the_server_closes_exports_and_archive_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    from monailabel_app import front

    called: list[str] = []
    app = SimpleNamespace(
        server_mode=lambda mode: called.append("serve"),
        on_init_complete=lambda: None,
        close=lambda: called.append("close"),
    )
    monkeypatch.setattr(front, "app_instance", lambda: app)
    monkeypatch.delenv(front.ADDRESS_VARIABLE, raising=False)

    async def served() -> None:
        async with front.lifespan(front.app):
            called.append("request")

    asyncio.run(served())
    assert called == ["serve", "request", "close"]
