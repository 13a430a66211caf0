"""Uploads are bounded in number, those of labels apart: saving a label neither waits for images nor is refused."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests
from app_harness import Server, write_mask
from fastapi import FastAPI

from monailabel_app.lib.http.upload_slots import AT_WORK, RECEIVED, RETRY_SECONDS, in_turn

HEAD = (
    "PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=frame\r\n"
    "Content-Length: 4000000\r\n\r\n--frame\r\n"
)

SECONDS = 30  # in which a busy server notices the uploads that were begun


@contextlib.contextmanager
def begun_uploads(server: Server, target: str, count: int):
    """Connections on which uploads were begun that do not go on."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(server.address))
            connection.sendall(HEAD.format(target=target, host=server.url[7:]).encode())
        yield


def test_a_label_is_saved_while_all_places_of_image_uploads_are_taken(server: Server, tmp_path) -> None:
    large = b"\0" * 1_500_000
    with begun_uploads(server, "/datastore/image?image=slow", RECEIVED["image"]):
        time.sleep(1.0)  # else the first request below may take the place of a begun upload, which is refused then
        deadline, refused = time.monotonic() + SECONDS, 0
        while refused < 3:  # one refusal may be due to the request before, which is still counted
            answer = server.call("PUT", "/session/", files={"files": ("x.mha", large)})
            refused = refused + 1 if answer.status == 503 else 0
            assert time.monotonic() < deadline, "the begun uploads are not counted"
        for method, target, field in (
            ("PUT", "/datastore/image?image=one", "file"),
            ("PUT", "/session/", "files"),
            ("POST", "/infer/fetalclip_seg?output=json", "file"),
        ):
            answer = server.call(method, target, files={field: ("x.mha", large)})
            assert answer.status == 503, target
            assert answer.headers["retry-after"] == str(RETRY_SECONDS)
            assert f"{RECEIVED['image']} uploads" in answer.detail
        mask = write_mask(tmp_path / "mask.mha", server.images / "case_a.mha").read_bytes()
        # of unknown length: it counts as an upload, among those of labels
        sent = requests.Request("PUT", server.url, files={"label": ("mask.mha", mask)}).prepare()
        headers = {"Content-Type": sent.headers["Content-Type"]}
        saved = server.raw("PUT", "/datastore/label?image=case_a&tag=busy", iter([sent.body]), headers)
        assert saved.status == 200
    assert server.raw("DELETE", "/datastore/label?id=case_a&tag=busy").status == 200
    answer = server.call("PUT", "/session/", files={"files": ("x.mha", large)})
    assert answer.status == 400  # it is taken again, and looked at


def test_few_uploads_are_unpacked_at_once_and_labels_do_not_wait_for_images() -> None:
    app, most, lock = FastAPI(), {"label": 0, "image": 0}, threading.Lock()
    now = dict(most)
    go = threading.Event()

    def work(kind: str) -> dict[str, str]:
        with lock:
            now[kind] += 1
            most[kind] = max(most[kind], now[kind])
        if kind == "image":
            assert go.wait(30)
        with lock:
            now[kind] -= 1
        return {"kind": kind}

    @app.put("/image")
    @in_turn("image")
    def image() -> dict[str, str]:
        return work("image")

    @app.put("/label")
    @in_turn("label")
    def label() -> dict[str, str]:
        return work("label")

    @app.get("/")
    def index() -> str:
        return "here"

    from starlette.testclient import TestClient

    with TestClient(app) as client, ThreadPoolExecutor(60) as pool:
        images = [pool.submit(client.put, "/image") for _ in range(50)]  # more than there are threads for requests
        labels = [pool.submit(client.put, "/label") for _ in range(8)]
        assert [one.result(30).status_code for one in labels] == [200] * 8
        assert client.get("/").status_code == 200
        assert not any(one.done() for one in images)
        go.set()
        assert [one.result(30).status_code for one in images] == [200] * 50
    assert most["image"] == AT_WORK["image"]
    assert most["label"] <= AT_WORK["label"]
