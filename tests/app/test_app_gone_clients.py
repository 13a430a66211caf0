"""An inference whose client has gone is not computed, whether it runs or waits for its turn."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from app_harness import Server

from fetaliqa.errors import RequestStopped
from fetaliqa.registry import AssessmentService
from monailabel_app.lib.api.inference_routes import MAX_INFERENCES

SECONDS = 60


def asked(server: Server, threshold: float) -> socket.socket:
    """A connection on which an inference of all 840 frames was asked for, with options that nobody used before."""
    body = urlencode({"params": f'{{"threshold": {threshold}}}'}).encode()
    head = f"POST /infer/fetalclip_seg?image=long&output=json HTTP/1.1\r\nHost: {server.url[7:]}\r\n"
    head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = socket.create_connection(server.address)
    connection.sendall(head.encode() + body)
    return connection


def log(server: Server) -> str:
    return (server.root / "server.log").read_text(errors="replace")


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_inferences_of_clients_that_have_gone_are_stopped_or_not_begun(server: Server) -> None:
    finished = log(server).count("long: cached=False")
    connections = [asked(server, 0.4 + number / 1000) for number in range(MAX_INFERENCES + 2)]
    for connection in reversed(connections):
        connection.close()
    wait_for(lambda: log(server).count("the client has disconnected") == len(connections))
    told = log(server)
    assert told.count("has disconnected; not started") >= 2  # those that waited for their turn
    assert told.count("has disconnected; finished too late") == 0
    assert told.count("long: cached=False") == finished
    assert server.infer("image=case_a&output=json").status == 200  # their turns are free again
    assert server.leftovers() == []


def test_the_model_is_not_asked_for_more_frames_once_nobody_waits(server: Server, bundle) -> None:
    service, gone, seen = AssessmentService(bundle, device="cpu"), threading.Event(), []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        gone.set()

    with pytest.raises(RequestStopped):
        service.assess(server.images / "long.mha", progress=progress, stopped=gone.is_set)
    assert len(seen) == 1  # of many batches
