"""What goes wrong: every fault ends as a sentence, with the window alive and every decision where it was."""

from __future__ import annotations

import json
import os
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
from FetalIQALib.casework import CaseWork
from FetalIQALib.failures import Failure
from FetalIQALib.http import Cancel, Http, checked_address
from FetalIQALib.images import read_stack
from FetalIQALib.workplace import Workplace
from workplaces import a_sweep, connected, opened, settle, wait_for


@pytest.fixture
def place(fake: FakeServer, tmp_path: Path) -> Workplace:
    """Connected, with decided work on the desk, and little patience."""
    made = connected(tmp_path, fake.url)
    made.hub.client.http._patience = 0.01
    made.desk.work = CaseWork(a_sweep(), "anna")
    made.desk.keeper.begin(made.desk.work, "final", 0)
    made.desk.act("accept", lambda work: work.accept(15))
    made.desk.act("empty", lambda work: work.mark_empty(3))
    return made


def assert_nothing_lost(place: Workplace, sentence: str) -> None:
    """The status says so, the work is on the desk and on the disk, and the next request may start at once."""
    assert sentence in place.hub.status.text, place.hub.status
    assert "Traceback" not in place.hub.status.text
    assert place.hub.status.kind == "problem"
    assert sorted(place.desk.work.frames) == [3, 15]
    assert place.desk.work.unsaved
    text = place.journals.path("case_a", "final").read_text()
    assert '"15"' in text
    assert not place.runner.busy()


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
    ("answer", "status", "sentence"),
    [
        ({"detail": "the token is too old"}, 401, "the token is too old"),
        (b"", 401, "enter a token"),
        ({"detail": "web pages may not call"}, 403, "web pages may not call"),
        ({"detail": "there is no image 'case_a' here"}, 404, "there is no image"),
        ({"detail": "a mask is on another grid"}, 400, "another grid"),
        ({"detail": "KeyError; the log has the rest"}, 500, "the log has the rest"),
        (b"<html>Bad gateway</html>", 502, "status 502"),
        ({"detail": "the disk is full"}, 507, "the disk is full"),
        (b"{" * 100_000, 200, "not JSON"),
        (b"\xff\xfe\x00", 200, "not JSON"),
        ([], 200, "another form than expected"),
        ({"version": "two"}, 200, "another form than expected"),
        ({"version": True}, 200, "another form than expected"),
        (hang, 0, "did not answer in time"),
        (break_off, 0, "again"),
        (no_http, 0, "No server answers"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value)[:24],
)
def test_a_submit_that_fails_loses_nothing(
    place: Workplace, fake: FakeServer, answer: object, status: int, sentence: str
) -> None:
    fake.on("PUT", "/datastore/label", answer, status or 200)
    if status == 404:
        place.desk.work.based_on = 0
    assert place.desk.submit()
    settle(place, 20)
    assert_nothing_lost(place, sentence)
    assert place.desk.work.based_on == 0
    fake.on("PUT", "/datastore/label", {"version": 1})
    assert place.desk.submit()  # the window never stays greyed out
    settle(place)
    assert (place.desk.work.based_on, place.desk.work.unsaved) == (1, False)


def test_a_login_is_asked_for_and_sent(fake: FakeServer, tmp_path: Path) -> None:
    def guarded(handler: Handler):
        if handler.headers.get("Authorization") != "Bearer secret":
            return 401, b'{"detail": "log in"}', {}
        return 200, b'{"name": "F", "version": "1", "models": {}}', {}

    fake.on("GET", "/info/", guarded)
    place = Workplace(tmp_path)
    place.connect(fake.url)
    settle(place)
    assert place.hub.wants_token
    assert not place.hub.online
    place.connect(fake.url, token="secret")
    settle(place)
    assert place.hub.online
    assert not place.hub.wants_token


def test_a_dead_server_is_a_sentence_and_a_retry(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    assert place.connect(f"http://127.0.0.1:{free_port()}")
    settle(place)
    assert "No server answers" in place.hub.status.text
    assert not place.hub.online
    fake = an_idle_server()
    assert place.connect(fake.url)
    settle(place)
    assert place.hub.online
    fake.close()


@pytest.mark.parametrize(
    "address",
    ["", "ftp://x", "http://", "http://user:pw@host", "http://h:99999999", "file:///etc/passwd", "http://[::"],
)
def test_what_is_no_address_is_refused_before_anything_is_sent(tmp_path: Path, address: str) -> None:
    with pytest.raises(Failure, match="is not that of a server"):
        checked_address(address)
    place = Workplace(tmp_path)
    assert not place.connect(address)
    assert place.hub.status.kind == "problem"


def test_a_token_is_not_sent_elsewhere(fake: FakeServer) -> None:
    other = FakeServer()
    fake.on("GET", "/info/", lambda handler: (302, b"", {"location": f"{other.url}/info/"}))
    with pytest.raises(Failure):
        Http(fake.url, "secret").json("GET", "/info/", Cancel())
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
        Http(elsewhere, token).json("GET", "/info/", Cancel())
    without, given = (headers.get("Authorization") for _method, _path, _body, headers in fake.asked[-2:])
    assert without.startswith("Basic")  # netrc is in force here
    assert given == "Bearer secret"


def test_a_request_can_be_given_up_and_made_again(place: Workplace, fake: FakeServer) -> None:
    place.hub.client.http._patience = 1.0
    fake.on("PUT", "/datastore/label", hang)
    assert place.desk.submit()
    assert not place.desk.submit()  # one of a kind at a time
    place.hub.cancel()
    assert "No longer waiting" in place.hub.status.text
    assert not place.runner.busy("submit")
    fake.on("PUT", "/datastore/label", {"version": 1})
    assert place.desk.submit()
    settle(place)
    assert place.desk.work.based_on == 1
    assert sorted(place.desk.work.frames) == [3, 15]


def test_decisions_made_while_a_submit_is_under_way_are_not_lost(place: Workplace, fake: FakeServer) -> None:
    def slow(handler: Handler):
        time.sleep(0.5)
        return 200, b'{"version": 1}', {}

    place.hub.client.http._patience = 1.0
    fake.on("PUT", "/datastore/label", slow)
    assert place.desk.submit()
    place.desk.act("empty", lambda work: work.mark_empty(4))
    settle(place)
    assert place.desk.work.unsaved  # frame 4 is not on the server yet
    assert place.desk.work.based_on == 1
    assert '"4"' in place.journals.path("case_a", "final").read_text()


def image_bytes(stack: np.ndarray, suffix: str, folder: Path) -> bytes:
    path = folder / f"made{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(stack), str(path))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no image that can be read"),
        (b"this is no image", "no image that can be read"),
        (
            b"ObjectType = Image\nNDims = 3\nDimSize = 99999 99999 99999\nElementType = MET_UCHAR\n"
            b"ElementDataFile = LOCAL\n",
            "4 GiB",
        ),
        (
            b"ObjectType = Image\nNDims = 3\nDimSize = 9 9 9\nElementType = MET_UCHAR\nElementDataFile = LOCAL\nx",
            "no image that can be read",
        ),
    ],
    ids=["empty", "text", "huge", "cut short"],
)
def test_an_image_that_cannot_be_used_leaves_the_case_on_the_desk(
    place: Workplace, fake: FakeServer, content: bytes, sentence: str
) -> None:
    fake.on("GET", "/datastore/image", content)
    assert place.desk.open("case_a")
    settle(place)
    assert_nothing_lost(place, sentence)


def test_a_case_of_full_length_is_read(tmp_path: Path) -> None:
    write_case(tmp_path / "long.mha", 840)
    assert read_stack(tmp_path / "long.mha").frames.shape == (840, 48, 64)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"frames": []}, "frames, the image has"),
        ({"frames": [{"index": 5}] * 4}, "frames, the image has"),
        (None, "another form than expected"),
    ],
)
def test_an_assessment_that_does_not_fit_is_not_shown(
    fake: FakeServer, tmp_path: Path, change: dict | None, sentence: str
) -> None:
    stack = np.full((4, 20, 30), 50, np.uint8)
    fake.on("GET", "/datastore/image", image_bytes(stack, ".mha", tmp_path))
    told = {"fetaliqa": change} if change is not None else []

    def infer(handler: Handler):
        if "output=image" in handler.path:
            return 200, image_bytes(stack * 0, ".mha", tmp_path), {}
        return 200, json.dumps(told).encode(), {}

    fake.on("POST", "/infer/", infer)
    place = connected(tmp_path, fake.url)
    work = opened(place, "case_a")
    assert sentence in place.hub.status.text
    assert work.sweep.assessment is None
    assert place.desk.act("empty", lambda work: work.mark_empty(1))  # review and drawing need no model


def test_a_label_on_another_grid_is_not_taken_for_this_case(fake: FakeServer, tmp_path: Path) -> None:
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
    place = connected(tmp_path, fake.url)
    place.desk.open("case_a")
    settle(place)
    assert place.desk.work is None
    assert "4 × 10 × 10" in place.hub.status.text


def test_a_case_left_while_it_loads_does_not_come_back(place: Workplace, fake: FakeServer, tmp_path: Path) -> None:
    content = image_bytes(np.full((4, 20, 30), 50, np.uint8), ".mha", tmp_path)

    def slow(handler: Handler):
        time.sleep(0.3)
        return 200, content, {}

    place.hub.client.http._patience = 1.0
    fake.on("GET", "/datastore/image", slow)
    assert place.desk.open("case_a")
    place.desk.close()  # the scene is closed while the request is in flight
    time.sleep(0.6)
    place.pump()
    assert place.desk.work is None
    assert place.journals.path("case_a", "final").exists()


def test_a_server_killed_while_it_is_asked(server: Server, tmp_path: Path) -> None:
    """A real server dies in the middle of a request, comes back, and the annotator goes on."""
    assert "Traceback" not in (server.root / "server.log").read_text()
    place = connected(tmp_path, server.url, tag="killed")
    work = opened(place, CASES[0])
    place.desk.drawn(5, np.ones(work.sweep.shape, np.uint8), "draw")
    place.desk.act("empty", lambda work: work.mark_empty(1))
    os.kill(server.process.pid, signal.SIGSTOP)  # it has the request, and will never answer it
    assert place.desk.submit()
    time.sleep(0.3)
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    settle(place)
    assert place.hub.status.kind == "problem"
    assert not place.hub.online
    assert work.unsaved
    assert sorted(work.frames) == [1, 5]
    assert place.journals.path(CASES[0], "killed").exists()
    server.process = start_demo_server(server.root, server.address[1]).process  # for the other tests too
    assert place.desk.submit()
    settle(place)
    assert (work.based_on, work.unsaved, place.hub.online) == (1, False, True), place.hub.status


def test_a_full_disk_is_told_and_work_goes_on(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    before = place.journals.path("case_a", "final").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    place.desk.act("empty", lambda work: work.mark_empty(4))
    assert "submit it now" in place.hub.status.text
    assert place.journals.path("case_a", "final").read_bytes() == before
    assert not place.desk.open("case_a")  # nothing takes its place before it is kept
    assert sorted(place.desk.work.frames) == [3, 4, 15]
    monkeypatch.undo()
    assert place.desk.keep(force=True)
    assert '"4"' in place.journals.path("case_a", "final").read_text()


def test_damaged_kept_work_is_told_and_left_alone(place: Workplace) -> None:
    path = place.journals.folder / "case_a~final~deadbeef.journal.json"
    path.write_text('{"schema": 1, "masks"')
    place.desk.keeper.offered = [path]
    assert not place.desk.resume()
    assert "cannot be read" in place.hub.status.text
    assert place.desk.keeper.offered == [path]
    assert path.read_text() == '{"schema": 1, "masks"'
    assert sorted(place.desk.work.frames) == [3, 15]


def test_kept_work_on_a_replaced_image_is_not_put_onto_the_new_one(place: Workplace, tmp_path: Path) -> None:
    path = place.journals.path("case_a", "final")
    other = path.with_name("case_a~final~deadbeef.journal.json")
    other.write_text(path.read_text().replace("f" * 64, "0" * 64))
    place.desk.keeper.offered = [other]
    assert not place.desk.resume()
    assert "image was replaced" in place.hub.status.text
    assert other.exists()


def test_a_bug_in_a_task_ends_as_a_sentence(place: Workplace) -> None:
    def broken(client, cancel):
        raise ZeroDivisionError

    assert place.hub.ask("broken", broken, print, "…")
    wait_for(place, lambda: not place.runner.busy())
    assert "ZeroDivisionError" in place.hub.status.text
    assert sorted(place.desk.work.frames) == [3, 15]
