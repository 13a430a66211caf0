"""Faults: every one ends as an error on the status line, the window stays usable and no label is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import Server, free_port, write_case
from demo_server import CASES, start_demo_server
from fake_server import FakeServer, Handler, an_idle_server
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.client_errors import (
    AuthenticationRequired,
    FetalIQAError,
    FileError,
    InvalidResponse,
    NotFound,
    RequestRefused,
    RequestTimeout,
    ServerUnreachable,
)
from FetalIQALib.http_client import Cancel, HttpClient, checked_address
from FetalIQALib.image_files import read_stack
from FetalIQALib.workspace import Workspace
from workspaces import a_sweep, connected, opened, settle, wait_for


@pytest.fixture
def workspace(fake: FakeServer, tmp_path: Path) -> Workspace:
    """Connected, with labelled frames and short timeouts."""
    connection = connected(tmp_path, fake.url)
    connection.session.client.http._timeout_factor = 0.01
    connection.controller.annotation = CaseAnnotation(a_sweep(), "anna")
    connection.controller.autosave.start_case(connection.controller.annotation, "final", 0)
    connection.controller.apply("accept", lambda annotation: annotation.accept(15))
    connection.controller.apply("empty", lambda annotation: annotation.mark_empty(3))
    return connection


def assert_nothing_lost(workspace: Workspace, error: type[FetalIQAError], value: str) -> None:
    """The status has this error and value, the labels are in memory and on disk, the next request may start."""
    assert type(workspace.session.status.error) is error, workspace.session.status
    assert value in workspace.session.status.text, workspace.session.status
    assert "Traceback" not in workspace.session.status.text
    assert workspace.session.status.kind == "problem"
    assert sorted(workspace.controller.annotation.frames) == [3, 15]
    assert workspace.controller.annotation.unsaved
    text = workspace.journals.path("case_a", "final").read_text()
    assert '"15"' in text
    assert not workspace.runner.busy()


def hang(handler: Handler) -> None:
    time.sleep(3)


def break_off(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"version": ')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def no_http(handler: Handler) -> None:
    handler.connection.sendall(b"\x16\x03\x01 this is no HTTP \r\n\r\n")
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "status", "error", "value"),
    [
        ({"detail": "the token is too old"}, 401, AuthenticationRequired, "the token is too old"),
        (b"", 401, AuthenticationRequired, ""),
        ({"detail": "web pages may not call"}, 403, AuthenticationRequired, "web pages may not call"),
        ({"detail": "there is no image 'case_a' here"}, 404, NotFound, "there is no image 'case_a' here"),
        ({"detail": "a mask is on another grid"}, 400, RequestRefused, "a mask is on another grid"),
        ({"detail": "KeyError; the log has the rest"}, 500, RequestRefused, "KeyError; the log has the rest"),
        (b"<html>Bad gateway</html>", 502, RequestRefused, "502"),
        ({"detail": "the disk is full"}, 507, RequestRefused, "the disk is full"),
        (b"{" * 100_000, 200, InvalidResponse, "JSON"),
        (b"\xff\xfe\x00", 200, InvalidResponse, "JSON"),
        ([], 200, InvalidResponse, "the saved label"),
        ({"version": "two"}, 200, InvalidResponse, "the saved label"),
        ({"version": True}, 200, InvalidResponse, "the saved label"),
        (hang, 0, RequestTimeout, "http://127.0.0.1"),
        (break_off, 0, InvalidResponse, "http://127.0.0.1"),
        (no_http, 0, ServerUnreachable, "http://127.0.0.1"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value)[:24],
)
def test_a_failed_submission_loses_nothing(
    workspace: Workspace, fake: FakeServer, answer: object, status: int, error: type, value: str
) -> None:
    fake.on("PUT", "/datastore/label", answer, status or 200)
    if status == 404:
        workspace.controller.annotation.based_on = 0
    assert workspace.controller.submit()
    settle(workspace, 20)
    assert_nothing_lost(workspace, error, value)
    assert workspace.controller.annotation.based_on == 0
    fake.on("PUT", "/datastore/label", {"version": 1})
    assert workspace.controller.submit()  # a retry is possible
    settle(workspace)
    assert (workspace.controller.annotation.based_on, workspace.controller.annotation.unsaved) == (1, False)


def test_a_token_is_requested_and_sent(fake: FakeServer, tmp_path: Path) -> None:
    def guarded(handler: Handler):
        if handler.headers.get("Authorization") != "Bearer secret":
            return 401, b'{"detail": "log in"}', {}
        return 200, b'{"name": "F", "version": "1", "models": {}}', {}

    fake.on("GET", "/info/", guarded)
    workspace = Workspace(tmp_path)
    workspace.connect(fake.url)
    settle(workspace)
    assert workspace.session.token_required
    assert not workspace.session.online
    workspace.connect(fake.url, token="secret")
    settle(workspace)
    assert workspace.session.online
    assert not workspace.session.token_required


def test_a_dead_server_is_an_error_and_can_be_retried(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.connect(f"http://127.0.0.1:{free_port()}")
    settle(workspace)
    assert isinstance(workspace.session.status.error, ServerUnreachable)
    assert not workspace.session.online
    fake = an_idle_server()
    assert workspace.connect(fake.url)
    settle(workspace)
    assert workspace.session.online
    fake.close()


@pytest.mark.parametrize(
    "address",
    ["", "ftp://x", "http://", "http://user:pw@host", "http://h:99999999", "file:///etc/passwd", "http://[::"],
)
def test_an_invalid_address_is_refused_without_a_request(tmp_path: Path, address: str) -> None:
    with pytest.raises(FetalIQAError, match=re.escape(repr(address))):
        checked_address(address)
    workspace = Workspace(tmp_path)
    assert not workspace.connect(address)
    assert workspace.session.status.kind == "problem"


def test_a_token_is_not_sent_to_another_host(fake: FakeServer) -> None:
    other = FakeServer()
    fake.on("GET", "/info/", lambda handler: (302, b"", {"location": f"{other.url}/info/"}))
    with pytest.raises(FetalIQAError):
        HttpClient(fake.url, "secret").json("GET", "/info/", Cancel())
    assert other.asked == []
    other.close()


def test_the_users_netrc_does_not_replace_the_token(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("NO_PROXY", "*")
    elsewhere = fake.url.replace("127.0.0.1", "127.1")  # not known to be this machine, so the environment counts
    for token in ("", "secret"):
        HttpClient(elsewhere, token).json("GET", "/info/", Cancel())
    without, given = (headers.get("Authorization") for _method, _path, _body, headers in fake.asked[-2:])
    assert without.startswith("Basic")  # netrc is in force here
    assert given == "Bearer secret"


def test_a_request_can_be_canceled_and_made_again(workspace: Workspace, fake: FakeServer) -> None:
    workspace.session.client.http._timeout_factor = 1.0
    fake.on("PUT", "/datastore/label", hang)
    assert workspace.controller.submit()
    assert not workspace.controller.submit()  # one request of a kind at a time
    workspace.session.cancel()
    assert workspace.session.status.kind == "problem"  # it may have been done
    assert not workspace.runner.busy("submit")
    fake.on("PUT", "/datastore/label", {"version": 1})
    assert workspace.controller.submit()
    settle(workspace)
    assert workspace.controller.annotation.based_on == 1
    assert sorted(workspace.controller.annotation.frames) == [3, 15]


def test_labels_made_during_a_submission_are_not_lost(workspace: Workspace, fake: FakeServer) -> None:
    def slow(handler: Handler):
        time.sleep(0.5)
        return 200, b'{"version": 1}', {}

    workspace.session.client.http._timeout_factor = 1.0
    fake.on("PUT", "/datastore/label", slow)
    assert workspace.controller.submit()
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(4))
    settle(workspace)
    assert workspace.controller.annotation.unsaved  # frame 4 is not on the server yet
    assert workspace.controller.annotation.based_on == 1
    assert '"4"' in workspace.journals.path("case_a", "final").read_text()


def image_bytes(stack: np.ndarray, suffix: str, folder: Path) -> bytes:
    path = folder / f"made{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(stack), str(path))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"", ""),
        (b"this is no image", ""),
        (
            b"ObjectType = Image\nNDims = 3\nDimSize = 99999 99999 99999\nElementType = MET_UCHAR\n"
            b"ElementDataFile = LOCAL\n",
            "99999 × 99999 × 99999",
        ),
        (
            b"ObjectType = Image\nNDims = 3\nDimSize = 9 9 9\nElementType = MET_UCHAR\nElementDataFile = LOCAL\nx",
            "",
        ),
    ],
    ids=["empty", "text", "huge", "cut short"],
)
def test_an_unusable_image_leaves_the_current_case_open(
    workspace: Workspace, fake: FakeServer, content: bytes, value: str
) -> None:
    fake.on("GET", "/datastore/image", content)
    assert workspace.controller.open("case_a")
    settle(workspace)
    assert_nothing_lost(workspace, InvalidResponse, value)


def test_a_case_of_840_frames_is_read(tmp_path: Path) -> None:
    write_case(tmp_path / "long.mha", 840)
    assert read_stack(tmp_path / "long.mha").frames.shape == (840, 48, 64)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ({"frames": []}, "0 frames"),
        ({"frames": [{"index": 5}] * 4}, "4 frames"),
        (None, "the assessment"),
    ],
)
def test_an_assessment_that_does_not_match_the_image_is_rejected(
    fake: FakeServer, tmp_path: Path, change: dict | None, value: str
) -> None:
    stack = np.full((4, 20, 30), 50, np.uint8)
    fake.on("GET", "/datastore/image", image_bytes(stack, ".mha", tmp_path))
    reply = {"fetaliqa": change} if change is not None else []

    def infer(handler: Handler):
        if "output=image" in handler.path:
            return 200, image_bytes(stack * 0, ".mha", tmp_path), {}
        return 200, json.dumps(reply).encode(), {}

    fake.on("POST", "/infer/", infer)
    workspace = connected(tmp_path, fake.url)
    annotation = opened(workspace, "case_a")
    assert type(workspace.session.status.error) is InvalidResponse
    assert value in workspace.session.status.text
    assert annotation.sweep.assessment is None
    assert workspace.controller.apply(
        "empty", lambda annotation: annotation.mark_empty(1)
    )  # labelling needs no model


def test_a_label_on_another_grid_is_rejected(fake: FakeServer, tmp_path: Path) -> None:
    fake.on("GET", "/datastore/image", image_bytes(np.full((4, 20, 30), 50, np.uint8), ".mha", tmp_path))
    mask = image_bytes(np.ones((4, 10, 10), np.uint8), ".mha", tmp_path)
    fake.on(
        "GET",
        "/datastore/label?",
        lambda handler: (
            200,
            mask,
            {"label-version": "1", "content-disposition": 'attachment; filename="case_a.mha"'},
        ),
    )
    fake.on("GET", "/datastore/label/info", {"version": 1})
    workspace = connected(tmp_path, fake.url)
    workspace.controller.open("case_a")
    settle(workspace)
    assert workspace.controller.annotation is None
    assert "4 × 10 × 10" in workspace.session.status.text


def test_closing_a_case_cancels_its_loading(workspace: Workspace, fake: FakeServer, tmp_path: Path) -> None:
    content = image_bytes(np.full((4, 20, 30), 50, np.uint8), ".mha", tmp_path)

    def slow(handler: Handler):
        time.sleep(0.3)
        return 200, content, {}

    workspace.session.client.http._timeout_factor = 1.0
    fake.on("GET", "/datastore/image", slow)
    assert workspace.controller.open("case_a")
    workspace.controller.close()  # the scene is closed while the request is in flight
    time.sleep(0.6)
    workspace.pump()
    assert workspace.controller.annotation is None
    assert workspace.journals.path("case_a", "final").exists()


def test_a_server_killed_during_a_request(server: Server, tmp_path: Path) -> None:
    """A real server is killed during a request and restarted; work goes on."""
    assert "Traceback" not in (server.root / "server.log").read_text()
    workspace = connected(tmp_path, server.url, tag="killed")
    annotation = opened(workspace, CASES[0])
    workspace.controller.draw_mask(5, np.ones(annotation.sweep.shape, np.uint8), "draw")
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(1))
    os.kill(server.process.pid, signal.SIGSTOP)  # it has the request, and will never answer it
    assert workspace.controller.submit()
    time.sleep(0.3)
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    settle(workspace)
    assert workspace.session.status.kind == "problem"
    assert not workspace.session.online
    assert annotation.unsaved
    assert sorted(annotation.frames) == [1, 5]
    assert workspace.journals.path(CASES[0], "killed").exists()
    server.process = start_demo_server(server.root, server.address[1]).process  # for the other tests too
    assert workspace.controller.submit()
    settle(workspace)
    assert (annotation.based_on, annotation.unsaved, workspace.session.online) == (1, False, True), (
        workspace.session.status
    )


def test_a_full_disk_is_reported_and_work_goes_on(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    before = workspace.journals.path("case_a", "final").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(4))
    assert type(workspace.session.status.error) is FileError
    assert "No space left on device" in workspace.session.status.text
    assert workspace.journals.path("case_a", "final").read_bytes() == before
    assert not workspace.controller.open("case_a")  # the current case stays open until it is saved
    assert sorted(workspace.controller.annotation.frames) == [3, 4, 15]
    monkeypatch.undo()
    assert workspace.controller.save_journal(force=True)
    assert '"4"' in workspace.journals.path("case_a", "final").read_text()


def test_damaged_saved_work_is_reported_and_left_unchanged(workspace: Workspace) -> None:
    path = workspace.journals.folder / "case_a~final~deadbeef.journal.json"
    path.write_text('{"schema": 1, "masks"')
    workspace.controller.autosave.offered = [path]
    assert not workspace.controller.resume()
    assert type(workspace.session.status.error) is FileError
    assert path.name in workspace.session.status.text
    assert workspace.controller.autosave.offered == [path]
    assert path.read_text() == '{"schema": 1, "masks"'
    assert sorted(workspace.controller.annotation.frames) == [3, 15]


def test_saved_work_on_another_image_is_not_resumed(workspace: Workspace, tmp_path: Path) -> None:
    path = workspace.journals.path("case_a", "final")
    other = path.with_name("case_a~final~deadbeef.journal.json")
    other.write_text(path.read_text().replace("f" * 64, "0" * 64))
    workspace.controller.autosave.offered = [other]
    assert not workspace.controller.resume()
    assert type(workspace.session.status.error) is FileError
    assert other.name in workspace.session.status.text
    assert other.exists()


def test_a_bug_in_a_task_is_reported(workspace: Workspace) -> None:
    def broken(client, cancel):
        raise ZeroDivisionError

    assert workspace.session.request("broken", broken, print, "…")
    wait_for(workspace, lambda: not workspace.runner.busy())
    assert "ZeroDivisionError" in workspace.session.status.text
    assert sorted(workspace.controller.annotation.frames) == [3, 15]
