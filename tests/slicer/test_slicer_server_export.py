"""Export of the worklist by a real server, and by one that fails on demand."""

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
from FetalIQALib.client_errors import AuthenticationRequired, FetalIQAError, InvalidAction, InvalidResponse
from FetalIQALib.server_session import StatusMessage
from FetalIQALib.worklist import WorklistRow
from FetalIQALib.workspace import Workspace
from workspaces import connected, settle, wait_for

ROWS = [WorklistRow("case_a", ".mha", tags=("anna", "final")), WorklistRow("case_b", ".mha", tags=("anna",))]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("FetalIQALib.server_export.POLL_SECONDS", 0.05)


def test_the_listed_cases_come_from_a_real_server_as_a_zip(server: Server, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for case in ("listed-one", "listed-two", "listed-open", "other"):
        image = sitk.GetImageFromArray(random.integers(20, 90, (3, 40, 50), dtype=np.uint8))
        sitk.WriteImage(image, str(tmp_path / "made.mha"))
        with open(tmp_path / "made.mha", "rb") as file:
            put = server.call("PUT", f"/datastore/image?image={case}", files={"file": (f"{case}.mha", file)})
        assert put.status == 200, put.body
    workspace = connected(tmp_path / "kept", server.url, tag="final")
    workspace.controller.assess = lambda: True
    for case in ("listed-one", "listed-two", "other"):
        workspace.controller.open(case)
        wait_for(
            workspace,
            lambda case=case: (
                workspace.controller.annotation is not None and workspace.controller.annotation.sweep.case == case
            ),
        )
        workspace.controller.draw_mask(1, np.pad(np.ones((9, 9), np.uint8), ((10, 21), (20, 21))), "draw")
        workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(2))
        workspace.controller.submit()
        settle(workspace)
        assert workspace.controller.annotation.based_on == 1, workspace.session.status
    out = tmp_path / "out"
    rows = workspace.worklist.shown(text="LISTED")
    assert [row.case for row in rows] == ["listed-one", "listed-open", "listed-two"]
    for name in ("fetaliqa-export.zip", "fetaliqa-export-2.zip"):  # nothing is overwritten
        assert workspace.server_export.start(rows, out)
        settle(workspace)
        assert str(out / name) in workspace.session.status.text
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
    refused = workspace.server_export.start(rows, out, "no-such-format")
    settle(workspace)
    assert refused
    assert "no-such-format" in workspace.session.status.text
    assert workspace.session.status.kind == "problem"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = an_idle_server()
    server.on("DELETE", "/export/0a1b", {})
    yield server
    server.close()


@pytest.fixture
def workspace(fake: FakeServer, tmp_path: Path) -> Workspace:
    return connected(tmp_path / "kept", fake.url)


def failed_export(workspace: Workspace, tmp_path: Path) -> StatusMessage:
    """The status after an export that fails; it leaves nothing in the folder."""
    workspace.server_export.start(ROWS, tmp_path / "out")
    settle(workspace)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
    assert workspace.session.status.kind == "problem"
    return workspace.session.status


def running(**values: object) -> dict[str, object]:
    return {"id": "0a1b", "status": "RUNNING", "cases": 0, "total": 1, "frames": 0, "message": None, **values}


@pytest.mark.parametrize(
    ("status", "answer", "error", "value"),
    [
        (429, {"detail": "export 77 is running"}, FetalIQAError, ""),
        (404, {"detail": "Not Found"}, FetalIQAError, "Not Found"),
        (403, {"detail": "administrators only"}, AuthenticationRequired, "administrators only"),
        (200, {"id": "../../evil", "status": "DONE"}, FetalIQAError, "'../../evil'"),
        (200, {"id": 3}, InvalidResponse, "the export"),
    ],
)
def test_an_export_that_cannot_start_is_reported(
    workspace: Workspace, fake: FakeServer, tmp_path: Path, status: int, answer: object, error: type, value: str
) -> None:
    fake.on("POST", "/export/", answer, status)
    message = failed_export(workspace, tmp_path)
    assert type(message.error) is error
    assert value in message.text


@pytest.mark.parametrize(
    ("job", "body", "error", "value"),
    [
        (running(status="ERROR", message="larger than 1 MiB"), b"", FetalIQAError, "larger than 1 MiB"),
        (running(status="STOPPED"), b"", FetalIQAError, ""),
        (running(status="DONE"), b"this is no zip", InvalidResponse, ""),
    ],
)
def test_a_failed_export_is_reported_and_removed_from_the_server(
    workspace: Workspace, fake: FakeServer, tmp_path: Path, job: dict, body: bytes, error: type, value: str
) -> None:
    fake.on("POST", "/export/", running())
    fake.on("GET", "/export/0a1b", job)
    fake.on("GET", "/export/0a1b/zip", body)
    message = failed_export(workspace, tmp_path)
    assert type(message.error) is error
    assert value in message.text
    assert fake.asked[-1][:2] == ("DELETE", "/export/0a1b")


def test_progress_is_shown_and_a_canceled_export_leaves_nothing(
    workspace: Workspace, fake: FakeServer, tmp_path: Path
) -> None:
    def later(handler: Handler):
        time.sleep(0.02)
        return 200, b'{"id": "0a1b", "status": "RUNNING", "cases": 3, "total": 9, "frames": 41}', {}

    fake.on("POST", "/export/", running())
    fake.on("GET", "/export/0a1b", later)
    assert workspace.server_export.start(ROWS, tmp_path / "out")
    wait_for(workspace, lambda: "3 of 9 cases, 41 frames" in workspace.session.status.text)
    workspace.session.cancel()
    assert workspace.session.status.kind == "info"
    wait_for(workspace, lambda: fake.asked[-1][0] == "DELETE")
    assert not (tmp_path / "out").exists()


def test_only_cases_with_the_exported_label_are_requested(
    workspace: Workspace, fake: FakeServer, tmp_path: Path
) -> None:
    assert not workspace.server_export.start(ROWS[1:], tmp_path)
    assert type(workspace.session.status.error) is InvalidAction
    assert "final" in workspace.session.status.text
    fake.on("POST", "/export/", {"detail": "no"}, 400)
    workspace.server_export.start(ROWS, tmp_path, "coco")
    settle(workspace)
    assert fake.asked[-1][2] == b'{"format": "coco", "selection": {"cases": ["case_a"]}}'
