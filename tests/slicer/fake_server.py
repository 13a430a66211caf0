"""Fake servers on plain sockets: with errors on demand, and with training."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes, dict[str, str]]
Rule = Callable[["Handler"], "Answer | None"]


class Handler(BaseHTTPRequestHandler):
    """Handles requests by the rules of its server, the last one first."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(length)
        server: FakeServer = self.server.owner  # type: ignore[attr-defined]
        server.asked.append((self.command, self.path, self.body, dict(self.headers)))
        for method, path, rule in reversed(server.rules):
            if method == self.command and self.path.startswith(path):
                response = rule(self)
                if response is None:
                    return  # the rule wrote to the socket itself
                status, body, headers = response
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                return
        self.send_error(404)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class FakeServer:
    """Listens on a free port of this machine; ``rules`` are (method, beginning of the path, rule)."""

    def __init__(self) -> None:
        self.rules: list[tuple[str, str, Rule]] = []
        self.asked: list[tuple[str, str, bytes, dict[str, str]]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.owner = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def on(self, method: str, path: str, answer: Any, status: int = 200) -> None:
        """Answer with JSON (a value), bytes, or what a rule makes."""
        if callable(answer):
            self.rules.append((method, path, answer))
            return
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.rules.append((method, path, lambda _handler: (status, body, {"content-type": "application/json"})))

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def an_idle_server() -> FakeServer:
    """A server that accepts connections, with one case and no labels."""
    server = FakeServer()
    info: dict[str, Any] = {
        "name": "FetalIQA",
        "version": "9",
        "models": {"fetalclip_seg": {"fetaliqa": {"name": "demo", "version": "1"}}},
        "strategies": {"random": {}, "fetaliqa": {}},
        "trainers": {},
    }
    server.on("GET", "/info/", info)
    server.on("GET", "/datastore/?output=all", {"objects": {"case_a": {"image": {"ext": ".mha"}, "labels": {}}}})
    return server
