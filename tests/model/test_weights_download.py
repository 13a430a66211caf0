from __future__ import annotations

import errno
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from fetaliqa.errors import WeightsError
from fetaliqa.model import weights_download as download_module
from fetaliqa.model.weights_download import download

CONTENT = np.random.default_rng(1).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does, and what it saw."""

    content: bytes = CONTENT
    tag: str | None = '"one"'
    ranges: bool = True
    status: int | None = None
    busy: list[tuple[int, str | None]] = field(default_factory=list)  # status and Retry-After, one a connection
    cut_after: list[int] = field(default_factory=list)  # bytes sent before hanging up, one entry per connection
    redirect_hash: str | None = None
    requests: list[dict[str, str]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        server = self.behaviour
        self.close_connection = True
        # before any answer: the client may follow a redirect faster than this thread goes on
        server.requests.append({"path": self.path, **dict(self.headers)})
        if self.path == "/linked":
            self.send_response(302)
            self.send_header("X-Linked-Etag", f'"{server.redirect_hash}"')
            self.send_header("Location", "/file")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if server.status is not None:
            self.send_error(server.status)
            return
        if server.busy:
            status, later = server.busy.pop(0)
            self.send_response(status)
            if later is not None:
                self.send_header("Retry-After", later)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = self._start(server)
        if start is not None and start >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = server.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        if start is not None:
            end = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(server.content)}")
        if server.tag:
            self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_after.pop(0)] if server.cut_after else body)

    def _start(self, server: Behaviour) -> int | None:
        wanted = self.headers.get("Range")
        if not (wanted and server.ranges and self.headers.get("If-Range") == server.tag):
            return None
        return int(wanted.removeprefix("bytes=").removesuffix("-"))


@pytest.fixture
def server() -> Iterator[tuple[str, Behaviour]]:
    behaviour = Behaviour()
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/file", behaviour
        running.shutdown()
        thread.join()


def test_download_arrives_whole_with_progress_and_hash(server, tmp_path):
    url, behaviour = server
    seen: list[tuple[int, int | None]] = []
    sha256 = download(
        url, tmp_path / "f.pt", sha256=SHA256, progress=lambda done, total: seen.append((done, total))
    )
    assert sha256 == SHA256
    assert (tmp_path / "f.pt").read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["f.pt"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert "Range" not in behaviour.requests[0]


def test_broken_connections_continue_where_they_stopped(server, tmp_path):
    url, behaviour = server
    behaviour.cut_after = [1_200_000, 700_000]
    assert download(url, tmp_path / "f.pt") == SHA256
    starts = [int(request["Range"][6:-1]) for request in behaviour.requests[1:]]
    assert starts == [1_200_000, 1_900_000]


def test_a_later_run_continues_the_part_of_an_earlier_one(server, tmp_path):
    url, behaviour = server
    behaviour.cut_after = [2_000_000, 0, 0]
    with pytest.raises(WeightsError, match=r"stopped at 2000000 bytes.*again to continue"):
        download(url, tmp_path / "f.pt", attempts=2, wait=lambda _: None)
    assert not (tmp_path / "f.pt").exists()
    behaviour.requests.clear()
    assert download(url, tmp_path / "f.pt") == SHA256
    assert [request["Range"] for request in behaviour.requests] == ["bytes=2000000-"]


def test_a_server_without_ranges_is_read_from_the_start(server, tmp_path):
    url, behaviour = server
    behaviour.ranges = False
    behaviour.cut_after = [1_000_000]
    assert download(url, tmp_path / "f.pt") == SHA256
    assert len(behaviour.requests) == 2


def test_a_part_of_another_version_is_not_continued(server, tmp_path):
    url, behaviour = server
    behaviour.cut_after = [1_000_000, 0]
    with pytest.raises(WeightsError, match="stopped"):
        download(url, tmp_path / "f.pt", attempts=1)
    behaviour.content, behaviour.tag = CONTENT[::-1], '"two"'
    assert download(url, tmp_path / "f.pt") == hashlib.sha256(CONTENT[::-1]).hexdigest()


def test_a_part_that_is_complete_already_is_used(server, tmp_path):
    url, behaviour = server
    (tmp_path / "f.pt.part").write_bytes(CONTENT)
    (tmp_path / "f.pt.part.json").write_text(json.dumps({"url": url, "tag": behaviour.tag}))
    assert download(url, tmp_path / "f.pt", sha256=SHA256) == SHA256
    assert len(behaviour.requests) == 1


def test_a_part_longer_than_the_file_is_started_again(server, tmp_path):
    url, behaviour = server
    (tmp_path / "f.pt.part").write_bytes(CONTENT + b"more")
    (tmp_path / "f.pt.part.json").write_text(json.dumps({"url": url, "tag": behaviour.tag}))
    assert download(url, tmp_path / "f.pt") == SHA256


def test_a_wrong_hash_leaves_the_old_file_and_no_part(server, tmp_path):
    url, _ = server
    (tmp_path / "f.pt").write_bytes(b"old")
    with pytest.raises(WeightsError, match=f"hash {SHA256[:12]}, but 000000000000 was expected"):
        download(url, tmp_path / "f.pt", sha256="0" * 64)
    assert (tmp_path / "f.pt").read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["f.pt"]


def test_the_hash_a_hub_states_on_its_redirect_is_checked(server, tmp_path):
    url, behaviour = server
    behaviour.redirect_hash = SHA256
    linked = url.replace("/file", "/linked")
    assert download(linked, tmp_path / "f.pt") == SHA256
    behaviour.content = CONTENT[:-1] + b"?"
    with pytest.raises(WeightsError, match="was expected"):
        download(linked, tmp_path / "g.pt")


def test_the_access_token_goes_to_the_hub_and_not_to_its_storage(server, tmp_path, monkeypatch):
    url, behaviour = server
    monkeypatch.setenv("HF_TOKEN", "secret")
    behaviour.redirect_hash = SHA256
    download(url.replace("/file", "/linked"), tmp_path / "f.pt")
    hub, storage = behaviour.requests
    assert hub["Authorization"] == "Bearer secret"
    assert "Authorization" not in storage


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (404, "no such file.*--url"),
        (403, r"HTTP 403\).*HF_TOKEN"),
        (401, "HTTP 401"),
        (400, "HTTP 400"),
    ],
)
def test_refusals_say_what_to_do(server, tmp_path, status, sentence):
    url, behaviour = server
    behaviour.status = status
    with pytest.raises(WeightsError, match=sentence):
        download(url, tmp_path / "f.pt")
    assert not (tmp_path / "f.pt").exists()


def test_an_address_where_nobody_answers_is_a_sentence(server, tmp_path):
    url = "http://127.0.0.1:9/file"
    with pytest.raises(WeightsError, match="stopped at 0 bytes"):
        download(url, tmp_path / "f.pt", attempts=1)


def test_a_server_that_cannot_answer_for_the_moment_is_asked_again_after_longer_and_longer_waits(server, tmp_path):
    url, behaviour = server
    behaviour.busy = [(503, None), (500, None), (429, None)]
    waits: list[float] = []
    assert download(url, tmp_path / "f.pt", wait=waits.append) == SHA256
    assert waits == [1, 2, 4]


def test_it_is_asked_again_when_the_server_says(server, tmp_path):
    url, behaviour = server
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    behaviour.busy = [(503, "7"), (429, soon), (503, "Tue, 01 Jan 2019 00:00:00 GMT"), (503, "sometime")]
    waits: list[float] = []
    assert download(url, tmp_path / "f.pt", wait=waits.append) == SHA256
    assert waits[0] == 7
    assert 30 < waits[1] <= 50
    assert waits[2:] == [0, 8]


def test_a_server_that_asks_for_a_long_time_is_left_to_the_user(server, tmp_path):
    url, behaviour = server
    behaviour.busy = [(503, "3600")]
    with pytest.raises(WeightsError, match=r"HTTP 503.*run the command again in 3600 s"):
        download(url, tmp_path / "f.pt", wait=lambda _: pytest.fail("it waited"))


def test_one_that_never_answers_is_given_up_after_some_waits(server, tmp_path):
    url, behaviour = server
    behaviour.busy = [(503, None)] * 9
    waits: list[float] = []
    with pytest.raises(WeightsError, match=r"stopped at 0 bytes .*HTTP 503"):
        download(url, tmp_path / "f.pt", wait=waits.append)
    assert waits == [1, 2, 4, 8]


def test_an_interruption_by_a_busy_server_continues_where_it_stopped(server, tmp_path):
    url, behaviour = server
    behaviour.cut_after = [1_200_000]
    waits: list[float] = []

    def busy_next(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            behaviour.busy = [(503, None)]

    assert download(url, tmp_path / "f.pt", wait=busy_next) == SHA256
    assert waits == [0, 1]
    assert behaviour.requests[-1]["Range"] == "bytes=1200000-"


def test_a_file_without_a_tag_that_breaks_off_again_and_again_is_given_up(server, tmp_path):
    url, behaviour = server
    behaviour.tag = None
    behaviour.cut_after = [1000, 500] * 9
    with pytest.raises(WeightsError, match="closed early"):
        download(url, tmp_path / "f.pt", attempts=3, wait=lambda _: None)
    assert len(behaviour.requests) == 4


def test_a_full_disk_is_said_at_once(server, tmp_path, monkeypatch):
    url, _ = server

    def full(*_args: object, **_how: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download_module, "write_json", full)
    with pytest.raises(WeightsError, match="the disk is full"):
        download(url, tmp_path / "f.pt", wait=lambda _: pytest.fail("it waited"))
