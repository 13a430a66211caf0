"""The worklist exported by the server: a real one, and one that fails on demand."""

from __future__ import annotations

import csv
import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import Server
from fake_server import FakeServer, Handler, an_idle_server
from FetalIQALib.worklist import Row
from FetalIQALib.workplace import Workplace
from workplaces import connected, settle, wait_for

ROWS = [Row("case_a", ".mha", tags=("anna", "final")), Row("case_b", ".mha", tags=("anna",))]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("FetalIQALib.list_export.POLL_SECONDS", 0.05)


def test_the_listed_cases_come_from_a_real_server_as_a_zip(server: Server, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for case in ("listed-one", "listed-two", "listed-open", "other"):
        image = sitk.GetImageFromArray(random.integers(20, 90, (3, 40, 50), dtype=np.uint8))
        sitk.WriteImage(image, str(tmp_path / "made.mha"))
        with open(tmp_path / "made.mha", "rb") as file:
            put = server.call("PUT", f"/datastore/image?image={case}", files={"file": (f"{case}.mha", file)})
        assert put.status == 200, put.body
    place = connected(tmp_path / "kept", server.url, tag="final")
    place.desk.assess = lambda: True
    for case in ("listed-one", "listed-two", "other"):
        place.desk.open(case)
        wait_for(place, lambda case=case: place.desk.work is not None and place.desk.work.sweep.case == case)
        place.desk.drawn(1, np.pad(np.ones((9, 9), np.uint8), ((10, 21), (20, 21))), "draw")
        place.desk.act("empty", lambda work: work.mark_empty(2))
        place.desk.submit()
        settle(place)
        assert place.desk.work.based_on == 1, place.hub.status
    out = tmp_path / "out"
    rows = place.worklist.shown(text="LISTED")
    assert [row.case for row in rows] == ["listed-one", "listed-open", "listed-two"]
    for name in ("fetaliqa-export.zip", "fetaliqa-export-2.zip"):  # nothing is overwritten
        assert place.list_export.start(rows, out)
        settle(place)
        assert f"2 cases are exported to {out / name}" in place.hub.status.text
        with zipfile.ZipFile(out / name) as archive:
            told = archive.read("manifest.csv").decode()
            pictures = [one for one in archive.namelist() if one.startswith("images/")]
        found = sorted((row["case_id"], row["frame"], row["state"]) for row in csv.DictReader(io.StringIO(told)))
        assert found == [
            (case, frame, state)
            for case in ("listed-one", "listed-two")
            for frame, state in (("1", "annotated"), ("2", "empty"))
        ]
        assert len(pictures) == 4
    assert [path.name for path in sorted(out.iterdir())] == ["fetaliqa-export-2.zip", "fetaliqa-export.zip"]
    refused = place.list_export.start(rows, out, "no-such-format")
    settle(place)
    assert refused
    assert "no-such-format" in place.hub.status.text
    assert place.hub.status.kind == "problem"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = an_idle_server()
    server.on("DELETE", "/export/0a1b", {})
    yield server
    server.close()


@pytest.fixture
def place(fake: FakeServer, tmp_path: Path) -> Workplace:
    return connected(tmp_path / "kept", fake.url)


def said(place: Workplace, tmp_path: Path) -> str:
    """What an export ends with; it leaves nothing in the folder."""
    place.list_export.start(ROWS, tmp_path / "out")
    settle(place)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
    assert place.hub.status.kind == "problem"
    return place.hub.status.text


def running(**values: object) -> dict[str, object]:
    return {"id": "0a1b", "status": "RUNNING", "cases": 0, "total": 1, "frames": 0, "message": None, **values}


@pytest.mark.parametrize(
    ("status", "answer", "sentence"),
    [
        (429, {"detail": "export 77 is running"}, "another export right now"),
        (404, {"detail": "Not Found"}, "cannot do that"),
        (403, {"detail": "administrators only"}, "administrators only"),
        (200, {"id": "../../evil", "status": "DONE"}, "letters, digits"),
        (200, {"id": 3}, "another form than expected"),
    ],
)
def test_an_export_that_does_not_begin_is_told(
    place: Workplace, fake: FakeServer, tmp_path: Path, status: int, answer: object, sentence: str
) -> None:
    fake.on("POST", "/export/", answer, status)
    assert sentence in said(place, tmp_path)


@pytest.mark.parametrize(
    ("job", "body", "sentence"),
    [
        (running(status="ERROR", message="larger than the limit of 1 MiB"), b"", "larger than the limit"),
        (running(status="STOPPED"), b"", "stopped on the server"),
        (running(status="DONE"), b"this is no zip", "no zip file"),
    ],
)
def test_an_export_that_fails_is_told_and_removed_from_the_server(
    place: Workplace, fake: FakeServer, tmp_path: Path, job: dict, body: bytes, sentence: str
) -> None:
    fake.on("POST", "/export/", running())
    fake.on("GET", "/export/0a1b", job)
    fake.on("GET", "/export/0a1b/zip", body)
    assert sentence in said(place, tmp_path)
    assert fake.asked[-1][:2] == ("DELETE", "/export/0a1b")


def test_progress_is_shown_and_giving_up_leaves_nothing(
    place: Workplace, fake: FakeServer, tmp_path: Path
) -> None:
    def later(handler: Handler):
        time.sleep(0.02)
        return 200, b'{"id": "0a1b", "status": "RUNNING", "cases": 3, "total": 9, "frames": 41}', {}

    fake.on("POST", "/export/", running())
    fake.on("GET", "/export/0a1b", later)
    assert place.list_export.start(ROWS, tmp_path / "out")
    wait_for(place, lambda: "3 of 9 cases, 41 frames" in place.hub.status.text)
    place.hub.cancel()
    assert place.hub.status.text == "Given up; nothing was changed."
    wait_for(place, lambda: fake.asked[-1][0] == "DELETE")
    assert not (tmp_path / "out").exists()


def test_only_cases_with_the_label_that_is_exported_are_asked_for(
    place: Workplace, fake: FakeServer, tmp_path: Path
) -> None:
    assert not place.list_export.start(ROWS[1:], tmp_path)
    assert "label final" in place.hub.status.text
    fake.on("POST", "/export/", {"detail": "no"}, 400)
    place.list_export.start(ROWS, tmp_path, "coco")
    settle(place)
    assert fake.asked[-1][2] == b'{"format": "coco", "selection": {"cases": ["case_a"]}}'
