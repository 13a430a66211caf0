"""The archive of ACOUSLIC-AI: fetched over loopback with resume, checked, and unpacked without surprises."""

from __future__ import annotations

import hashlib
import json
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from acouslic_files import write_set

from fetaliqa.datasets import acouslic_archive, safe_unzip
from fetaliqa.datasets.acouslic import verify
from fetaliqa.datasets.acouslic_archive import ArchiveError, Source, fetch_archive, find_source
from fetaliqa.datasets.acouslic_layout import CIRCUMFERENCES
from fetaliqa.errors import OptionError

NAME = "acouslic-ai-train-set.zip"


class _Server:
    """Serves files with ranges; can hang up after some bytes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut_after: list[int] = []
        self.requests: list[dict[str, str]] = []
        self.url = ""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        served = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None: ...

            def do_GET(self) -> None:
                served.requests.append({"path": self.path, **dict(self.headers)})
                content = served.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                wanted = self.headers.get("Range")
                start = int(wanted[6:-1]) if wanted else 0
                self.send_response(206 if wanted else 200)
                if wanted:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("ETag", '"one"')
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                body = content[start:]
                self.wfile.write(body[: served.cut_after.pop(0)] if served.cut_after else body)

        return Handler


@pytest.fixture
def server():
    served = _Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), served.handler()) as running:
        served.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def zipped(tmp_path_factory) -> bytes:
    """A sound set, one folder deep, with what some systems add."""
    root = tmp_path_factory.mktemp("zipped")
    write_set(root / "set")
    with zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted((root / "set").rglob("*")):
            made.write(path, f"acouslic-ai-train-set/{path.relative_to(root / 'set')}")
        made.writestr("__MACOSX/._x", b"litter")
    return (root / "a.zip").read_bytes()


def _archive(tmp_path, members):
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(CIRCUMFERENCES.as_posix(), "uuid,subject_id,sweep_1_ac_mm\n")
        for name, content in members:
            made.writestr(name, content)
    return path


def test_the_archive_is_fetched_resumed_checked_and_unpacked(server, zipped, tmp_path):
    server.files[f"/files/{NAME}/content"] = zipped
    server.cut_after = [len(zipped) // 3]
    seen: list[tuple[int, int | None]] = []
    source = Source(f"{server.url}/files/{NAME}/content", md5=hashlib.md5(zipped).hexdigest())
    fetched = fetch_archive(source, tmp_path / "data", unpacked=lambda done, total: seen.append((done, total)))
    assert server.requests[1]["Range"] == f"bytes={len(zipped) // 3}-"
    assert (fetched.checked, fetched.sha256) == ("md5", hashlib.sha256(zipped).hexdigest())
    assert verify(tmp_path / "data").sound
    assert seen[-1][0] == seen[-1][1]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert not (tmp_path / "data" / "__MACOSX").exists()


def test_an_empty_folder_is_filled_and_the_archive_kept_when_asked(server, zipped, tmp_path):
    server.files[f"/{NAME}"] = zipped
    (tmp_path / "data").mkdir()
    sha256 = hashlib.sha256(zipped).hexdigest()
    fetched = fetch_archive(Source(f"{server.url}/{NAME}", sha256), tmp_path / "data", keep=True)
    assert fetched.checked == "sha256"
    assert (tmp_path / NAME).read_bytes() == zipped
    fetch_archive(Source(f"{server.url}/{NAME}", sha256), tmp_path / "again")
    assert len(server.requests) == 1  # the kept one was used


def test_a_folder_with_files_is_left_alone_and_nothing_downloaded(server, tmp_path):
    write_set(tmp_path / "data")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OptionError, match="exists already"):
        fetch_archive(Source(f"{server.url}/{NAME}"), tmp_path / "data")
    assert sorted(tmp_path.rglob("*")) == before
    assert server.requests == []


def test_a_wrong_hash_leaves_nothing(server, zipped, tmp_path):
    server.files[f"/{NAME}"] = zipped
    for source in (Source(f"{server.url}/{NAME}", md5="0" * 32), Source(f"{server.url}/{NAME}", sha256="0" * 64)):
        with pytest.raises(ArchiveError, match="was expected"):
            fetch_archive(source, tmp_path / "data")
        assert list(tmp_path.iterdir()) == []


def test_an_archive_that_was_there_before_is_never_deleted(server, tmp_path):
    own = tmp_path / NAME
    own.write_bytes(b"mine")
    for source in (Source(f"{server.url}/{NAME}", md5="0" * 32), Source(f"{server.url}/{NAME}", sha256="0" * 64)):
        with pytest.raises(ArchiveError, match="move it away"):
            fetch_archive(source, tmp_path / "data")
        assert own.read_bytes() == b"mine"


def test_a_missing_file_names_the_variable_and_no_access_token_is_sent(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    with pytest.raises(ArchiveError, match="FETALIQA_ACOUSLIC_URL"):
        fetch_archive(Source(f"{server.url}/{NAME}"), tmp_path / "data")
    assert "Authorization" not in server.requests[0]


def test_zenodo_s_record_gives_address_and_md5(server, monkeypatch):
    monkeypatch.delenv(acouslic_archive.URL_VARIABLE, raising=False)
    record = {
        "files": [
            {"key": "read.me", "checksum": "md5:" + "1" * 32, "links": {"self": "https://z/read.me"}},
            {"key": "set-1.1.zip", "checksum": "md5:" + "2" * 32, "links": {"self": "https://z/set/content"}},
        ]
    }
    server.files["/record"] = json.dumps(record).encode()
    assert find_source(record_url=f"{server.url}/record") == Source("https://z/set/content", md5="2" * 32)
    given = find_source(sha256="3" * 64, record_url=f"{server.url}/record")
    assert given == Source("https://z/set/content", "3" * 64)


@pytest.mark.parametrize("answer", [None, b"<html>", b"{}", b'{"files": []}', b'{"files": [1]}'])
def test_without_a_usable_record_the_default_address_is_tried_and_said_so(server, monkeypatch, answer):
    monkeypatch.delenv(acouslic_archive.URL_VARIABLE, raising=False)
    if answer is not None:
        server.files["/record"] = answer
    notes: list[str] = []
    source = find_source(record_url=f"{server.url}/record", note=notes.append)
    assert source == Source(acouslic_archive.DEFAULT_URL)
    assert len(notes) == 1
    assert "no valid response" in notes[0]


def test_a_given_address_is_taken_without_asking_anybody(monkeypatch):
    monkeypatch.setenv(acouslic_archive.URL_VARIABLE, "http://mirror/a.zip")
    assert find_source(record_url="http://127.0.0.1:9/") == Source("http://mirror/a.zip")
    assert find_source("http://other/b.zip", md5="a" * 32) == Source("http://other/b.zip", md5="a" * 32)
    for arguments in ({"url": "file:///etc/hosts"}, {"sha256": "12"}, {"md5": "z" * 32}):
        with pytest.raises(OptionError):
            find_source(**arguments)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "images/../../evil", "a\\evil", "C:/evil"])
def test_names_that_lead_outside_are_refused_before_anything_is_written(tmp_path, name):
    path = _archive(tmp_path, [(name, b"x")])
    with pytest.raises(ValueError, match="outside of the target folder"):
        safe_unzip.unpack(path, tmp_path / "data")
    assert [each.name for each in tmp_path.iterdir()] == ["made.zip"]


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("images/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(ValueError, match="link or device"):
        safe_unzip.unpack(_archive(tmp_path, [(link, b"/etc/hosts")]), tmp_path / "data")


def test_archives_of_something_else_or_too_large_are_refused(tmp_path, monkeypatch):
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as made:
        made.writestr("readme.txt", "x")
    with pytest.raises(ValueError, match="is it the ACOUSLIC-AI training set"):
        safe_unzip.unpack(other, tmp_path / "data")
    path = _archive(tmp_path, [("images/a.mha", b"x" * 1000)])
    monkeypatch.setattr(safe_unzip.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100}))
    with pytest.raises(ValueError, match="make room"):
        safe_unzip.unpack(path, tmp_path / "data")


def test_a_damaged_archive_leaves_no_folder(tmp_path):
    path = _archive(tmp_path, [("images/a.mha", b"abcdefgh" * 1000)])
    content = bytearray(path.read_bytes())
    content[content.index(b"abcdefgh") + 4000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        safe_unzip.unpack(path, tmp_path / "data")
    path.write_bytes(b"PK not a zip")
    with pytest.raises(ValueError, match="damaged"):
        safe_unzip.unpack(path, tmp_path / "data")
    assert [each.name for each in tmp_path.iterdir()] == ["made.zip"]
