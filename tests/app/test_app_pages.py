"""What browsers get: pages that load nothing from elsewhere, and nothing for pages of other sites."""

from __future__ import annotations

import base64
import hashlib
import socket
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from app_harness import VIEWER, Server

PAGES = ("/", "/docs", "/logs/", "/logs/?refresh=5&lines=20")
OTHER_SITE = {"Sec-Fetch-Site": "cross-site"}
LINK = {**OTHER_SITE, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


class Loaded(HTMLParser):
    """What a page loads, and the scripts and styles within it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.attributes: set[str] = set()
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [str(given[key]) for key in ("src", "href", "action", "data") if given.get(key)]
        self.attributes.update(given)
        self._within = tag if tag in self.inline and not given.get("src") else ""

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within:
            self.inline[self._within].append(data)


def policy(headers: dict[str, str]) -> dict[str, list[str]]:
    parts = (part.split() for part in headers["content-security-policy"].split(";"))
    return {name: sources for name, *sources in parts}


@pytest.mark.parametrize("target", PAGES)
def test_a_page_loads_only_what_this_server_has(server: Server, target: str) -> None:
    answer = server.raw("GET", target)
    assert answer.headers["content-type"].startswith("text/html")
    found, allowed = Loaded(answer.body.decode()), policy(answer.headers)
    assert found.addresses
    for address in found.addresses:
        whole = urljoin(server.url + target, address)
        assert whole.startswith(server.url), address
        assert server.raw("GET", whole.removeprefix(server.url)).status == 200, address
    for kind in ("script", "style"):
        assert "'unsafe-inline'" not in allowed[f"{kind}-src"]
        assert all(source == "'self'" or source.startswith("'sha256-") for source in allowed[f"{kind}-src"])
        for text in found.inline[kind]:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in allowed[f"{kind}-src"]
    assert not [name for name in found.attributes if name.startswith("on") or name == "style"]
    assert (allowed["default-src"], allowed["frame-ancestors"]) == (["'none'"], ["'none'"])
    assert "://" not in "".join(found.inline["script"])


def test_the_log_is_text_in_its_page_whatever_it_holds(server: Server) -> None:
    server.raw("POST", "/infer/<script>alert(1)</script>?image=case_a")
    server.raw("GET", "/datastore/image?image=case_a")
    shown = server.raw("GET", "/logs/?html=true&lines=0").body.decode()
    assert "FetalIQA is serving" in shown
    assert "<script" not in shown
    plain = server.raw("GET", "/logs/?text=true&lines=3")
    assert plain.headers["content-type"].startswith("text/plain")
    assert plain.body.count(b"\n") == 3
    assert server.raw("GET", "/logs/?lines=-1").status == 400


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/info/", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/datastore/image?image=case_a", 200),
        ("GET", "/logs/?text=true", 200),
        ("GET", "/nothing-here", 404),
        ("DELETE", "/info/", 405),
        ("GET", "/datastore/image?image=nope", 404),
        ("GET", "/datastore/image?image=..", 400),
        ("PUT", "/datastore/label?image=case_a", 400),
    ],
)
def test_every_answer_says_that_browsers_may_run_nothing_of_it(
    server: Server, method: str, target: str, expected: int
) -> None:
    answer = server.raw(method, target)
    assert answer.status == expected
    allowed = policy(answer.headers)
    assert (allowed["default-src"], allowed["frame-ancestors"]) == (["'none'"], ["'none'"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"


def test_an_unexpected_error_has_the_headers_too() -> None:
    from fastapi.testclient import TestClient

    from monailabel_app.lib.http.perimeter import Front

    front = Front(hosts=["localhost"], others=False)

    @front.get("/broken")
    def broken() -> None:
        raise RuntimeError("a bug")

    client = TestClient(front, base_url="http://localhost", raise_server_exceptions=False)
    answer = client.get("/broken")
    assert (answer.status_code, answer.headers["x-content-type-options"]) == (500, "nosniff")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        OTHER_SITE,
        LINK,
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://["},
        {"Origin": "http://localhost:1"},
        {"Referer": "https://evil.example/page"},
    ],
)
@pytest.mark.usefixtures("untouched")
def test_pages_of_other_sites_change_nothing(server: Server, method: str, headers: dict[str, str]) -> None:
    for target in ("/datastore/image?id=case_a", "/train/fetalclip_seg", "/session/nope", "/models/rollback"):
        answer = server.raw(method, target, None, headers)
        assert (answer.status, "web pages" in answer.detail) == (403, True), target


def test_pages_of_other_sites_read_nothing_but_a_link_can_be_followed(server: Server) -> None:
    for mode, dest in (("no-cors", "image"), ("no-cors", "script"), ("navigate", "iframe"), ("navigate", "embed")):
        headers = {**OTHER_SITE, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        assert server.raw("GET", "/datastore/image?image=case_a", None, headers).status == 403, dest
    assert server.raw("GET", "/", None, LINK).status == 200
    own = {"Sec-Fetch-Site": "same-origin", "Referer": f"{server.url}/docs", "Origin": server.url}
    assert server.raw("DELETE", "/activelearning/lease", None, own).status == 200
    assert server.raw("DELETE", "/activelearning/lease", None, {**OTHER_SITE, "Origin": VIEWER}).status == 200


def test_there_are_no_web_sockets(server: Server) -> None:
    asked = (
        f"GET / HTTP/1.1\r\nHost: localhost:{server.address[1]}\r\nOrigin: https://evil.example\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    with socket.create_connection(server.address, timeout=30) as connection:
        connection.sendall(asked.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 403 ")


def test_reload_is_refused_with_a_sentence(server: Server) -> None:
    for _ in range(3):
        answer = server.raw("POST", "/reload")
        assert (answer.status, "restart" in answer.detail) == (404, True)
    assert server.raw("GET", "/info/").status == 200
