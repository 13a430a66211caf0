"""A small DICOMweb archive in a thread, which can be told to misbehave."""

from __future__ import annotations

import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom
from pydicom.dataset import Dataset

BOUNDARY = "stub-boundary"


class StubArchive:
    """What it holds, what it was asked, and how it misbehaves.

    Attributes:
        instances: what it holds.
        calls: method and path of every call.
        fault: ``redirect``, ``login``, ``garbage``, ``other``, ``cut``, ``no pages``, ``refuse``, ``failed``, or
            None.
        elsewhere: where it redirects to.
        renamed: UIDs it lies about, by the true ones.
        slow: an instance that it takes long to send.
    """

    def __init__(self, instances: list[Dataset]) -> None:
        self.instances, self.calls, self.fault = list(instances), [], None  # type: ignore[var-annotated]
        self.elsewhere, self.slow, self.renamed = "", "", {}  # type: ignore[var-annotated]
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stub.calls.append(("GET", self.path))
                stub.get(self)

            def do_POST(self) -> None:
                stub.calls.append(("POST", self.path))
                stub.post(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}/dicom-web"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fetched(self) -> int:
        """How many instances were asked for."""
        return sum("/instances/" in path for method, path in self.calls if method == "GET")

    def get(self, call: BaseHTTPRequestHandler) -> None:
        if self.fault == "redirect":
            answer(call, 302, b"", "text/plain", {"Location": self.elsewhere + call.path})
        elif self.fault == "login":
            answer(call, 401, b"", "text/plain")
        elif self.fault == "garbage":
            answer(call, 200, b"<html>a web site</html>", "text/html")
        elif "/instances/" in call.path:
            self._send(call, call.path.rsplit("/", 1)[1])
        else:
            self._search(call)

    def _search(self, call: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(call.path)
        asked = parse_qs(parts.query)
        modality = asked.get("Modality", [None])[0]
        if parts.path.endswith("/instances"):
            series = parts.path.split("/")[-2]
            found = [
                self._told(one, one.SOPInstanceUID) for one in self.instances if one.SeriesInstanceUID == series
            ]
        else:
            held: dict[str, list[Dataset]] = {}
            for one in self.instances:
                if modality in (None, one.Modality):
                    held.setdefault(one.SeriesInstanceUID, []).append(one)
            found = [self._told(ones[0], None, len(ones)) for ones in held.values()]
        start = 0 if self.fault == "no pages" else int(asked.get("offset", ["0"])[0])
        stop = start + int(asked.get("limit", ["1000"])[0])
        content = found if self.fault == "no pages" else found[start:stop]
        answer(call, 200, json.dumps([one.to_json_dict() for one in content]).encode(), "application/dicom+json")

    def _told(self, one: Dataset, instance: str | None, count: int | None = None) -> Dataset:
        told = Dataset()
        told.StudyInstanceUID = one.StudyInstanceUID
        told.SeriesInstanceUID = self.renamed.get(one.SeriesInstanceUID, one.SeriesInstanceUID)
        if instance is not None:
            told.SOPInstanceUID = self.renamed.get(instance, instance)
            told.NumberOfFrames = one.get("NumberOfFrames") or 1
        if count is not None:
            told.NumberOfSeriesRelatedInstances = count
        return told

    def _send(self, call: BaseHTTPRequestHandler, instance: str) -> None:
        if instance == self.slow:
            time.sleep(1.5)
        found = [one for one in self.instances if one.SOPInstanceUID == instance]
        if self.fault == "other":
            found = [one for one in self.instances if one.SOPInstanceUID != instance]
        content = io.BytesIO()
        pydicom.dcmwrite(content, found[0], write_like_original=False)
        head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = head + content.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()
        if self.fault == "cut":
            body = body[: len(body) // 2]
        answer(call, 200, body, f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"')

    def post(self, call: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.fault == "refuse":
            answer(call, 409, b"", "application/dicom+json")
            return
        start = body.index(b"\r\n\r\n", body.index(b"Content-Type")) + 4
        dataset = pydicom.dcmread(io.BytesIO(body[start : body.rindex(b"\r\n--")]))
        told, one = Dataset(), Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        if self.fault == "failed":
            one.FailureReason = 272
            told.FailedSOPSequence = [one]
        else:
            told.ReferencedSOPSequence = [one]
            if dataset.SOPInstanceUID not in [held.SOPInstanceUID for held in self.instances]:
                self.instances.append(dataset)
        answer(call, 200, told.to_json().encode(), "application/dicom+json")


def answer(
    call: BaseHTTPRequestHandler, status: int, body: bytes, kind: str, more: dict[str, str] | None = None
) -> None:
    call.send_response(status)
    for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}.items():
        call.send_header(name, value)
    call.end_headers()
    call.wfile.write(body)
