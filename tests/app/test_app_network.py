"""A server that others can reach: names it answers to, limits on uploads, and what is not told to them."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_harness import Server, start, stop, write_case, write_mask

NAME = "labels.example.org"
UPLOADS = 4  # a minute
STUDIES_GB = 0.001  # 1.07 MB, which the two cases leave some room of


@pytest.fixture(scope="module")
def reachable(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Server]:
    """A server on every address of this machine, at a port of its own choice, with narrow limits."""
    root = tmp_path_factory.mktemp("reachable")
    write_case(root / "studies" / "case_a.mha", 12, seed=1)
    write_case(root / "studies" / "case_b.mha", 100, seed=2)
    command = [
        "-m",
        "monailabel_app.serve",
        "--studies",
        str(root / "studies"),
        "--host",
        "0.0.0.0",
        "--port",
        "0",
    ]
    for key, value in (
        ("open", "true"),
        ("hosts", NAME),
        ("bundle", bundle),
        ("cache_dir", root / "cache"),
        ("uploads_per_minute", UPLOADS),
        ("max_studies_gb", STUDIES_GB),
        ("min_free_gb", 0),
    ):
        command += ["--conf", key, str(value)]
    running = start(root, command)
    yield running
    stop(running)


def status(server: Server, method: str = "GET", target: str = "/info/", **headers: str) -> int:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.raw(method, target, None, sent).status


def test_it_says_loudly_that_others_can_reach_it(reachable: Server) -> None:
    said = (reachable.root / "server.log").read_text()
    assert "OPEN TO THE NETWORK" in said
    assert "Uvicorn running on http://0.0.0.0:" in said


def test_it_answers_to_its_names_whatever_their_spelling(reachable: Server) -> None:
    port = reachable.address[1]
    for host in (
        "localhost",
        "LOCALHOST.",
        f"127.0.0.1:{port}",
        "[::1]",
        "[0:0::1]:80",
        NAME,
        socket.gethostname(),
    ):
        assert status(reachable, Host=host) == 200, host
    for host in (
        "evil.example",
        f"evil.example:{port}",
        f"{NAME}.evil.example",
        "localhost@evil.example",
        "192.0.2.7",
    ):
        answer = reachable.raw("GET", "/info/", None, {"Host": host})
        assert answer.status == 400, host
        assert "Host" in answer.detail
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_page_that_took_this_address_for_its_own_name_is_not_answered(reachable: Server) -> None:
    host = f"evil.example:{reachable.address[1]}"
    assert status(reachable, "POST", "/infer/fetalclip_seg", Host=host, Origin=f"http://{host}") == 400


def test_requests_need_exactly_one_host(reachable: Server) -> None:
    for hosts in (b"", b"Host: localhost\r\nHost: evil.example\r\n", b"Host: \r\n"):
        with socket.create_connection(reachable.address, timeout=30) as connection:
            connection.sendall(b"GET /info/ HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 400 "), hosts


def test_uploads_of_images_are_bounded_in_number_and_size_and_labels_are_not(
    reachable: Server, tmp_path: Path
) -> None:
    content = write_case_bytes(tmp_path / "more.mha", 3)
    large = write_case_bytes(tmp_path / "large.mha", 600)
    put = {"files": {"file": ("more.mha", content)}}
    assert reachable.call("PUT", "/datastore/image?image=more", **put).status == 200
    for target, field in (("/datastore/image?image=large", "file"), ("/session/", "files")):
        full = reachable.call("PUT", target, files={field: ("large.mha", large)})
        assert (full.status, "max_studies_gb" in full.detail) == (507, True)
    assert not (reachable.studies / "large.mha").exists()
    assert reachable.call("PUT", "/datastore/image?image=last", **put).status == 200
    waits = reachable.call("PUT", "/datastore/image?image=again", **put)
    assert (waits.status, 0 < int(waits.headers["retry-after"]) <= 60) == (429, True)
    assert "uploads" in waits.detail
    mask = write_mask(tmp_path / "mask.nii.gz", reachable.studies / "case_a.mha").read_bytes()
    for _ in range(UPLOADS + 1):
        saved = reachable.call("PUT", "/datastore/label?image=case_a", files={"label": ("m.nii.gz", mask)})
        assert saved.status == 200


def write_case_bytes(path: Path, frames: int) -> bytes:
    write_case(path, frames, seed=7)
    return path.read_bytes()


def test_an_upload_of_undeclared_length_ends_where_the_room_does(reachable: Server) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="x.mha"\r\n\r\n'
    pieces = (bytes(1024**2) if number else head for number in range(32))
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    # another machine, whose uploads are counted apart
    connection = http.client.HTTPConnection(*reachable.address, timeout=60, source_address=("127.0.0.2", 0))
    with contextlib.closing(connection):
        connection.request("POST", "/infer/fetalclip_seg", pieces, headers, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, b"max_studies_gb" in answer.read()) == (507, True)
