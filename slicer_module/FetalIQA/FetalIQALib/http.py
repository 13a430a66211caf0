"""Requests to the server: timeouts, cancelling, and every failure as one sentence."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Optional
from urllib.parse import urlsplit

import requests
import requests.auth

from FetalIQALib import failures
from FetalIQALib.texts import _

CONNECT_SECONDS = 5.0  # a server on the hospital's own network answers in milliseconds
ANSWER_SECONDS = 30.0  # for calls that only look something up
COMPUTE_SECONDS = 900.0  # for an assessment on a machine without GPU
MAX_JSON_BYTES = 64 << 20  # the assessment of an 840-frame case is about 1 MB
DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK = ("127.0.0.1", "localhost", "::1")  # names of this very machine
CHUNK = 1 << 18  # bytes between two looks at whether the user gave up

Cancel = threading.Event
Progress = Callable[[int, Optional[int]], None]


def checked_address(address: str) -> str:
    """The server's address in its one spelling; ``127.0.0.1:8000`` gets its ``http://``.

    Scheme and host in lower case, no port that is the scheme's own, no slash at the end.

    Raises:
        Failure: when it is no address of a server.
    """
    text = address.strip()
    if text and "://" not in text:
        text = f"http://{text}"
    text = text.rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        raise failures.Failure(
            _("The address {address!r} is not that of a server; write it like http://127.0.0.1:8000.").format(
                address=address[:80]
            )
        )
    host = str(parts.hostname)
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def same_server(address: str) -> str:
    """What all addresses of one server have in common: its address, with this machine's names as one."""
    try:
        text = checked_address(address)
    except failures.Failure:
        return address
    parts = urlsplit(text)
    if parts.hostname not in LOOPBACK:
        return text
    return parts._replace(netloc=f"{LOOPBACK[0]}{'' if parts.port is None else f':{parts.port}'}").geturl()


class Bearer(requests.auth.AuthBase):
    """The token that the user gave; as ``auth`` of a request, since a netrc file would replace a mere header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Http:
    """One server's requests. Every call opens a connection of its own, so several threads may call.

    Args:
        address: of the server, ``http://host:port``.
        token: sent as ``Authorization: Bearer``, when the server asks for one.
        patience: factor on all timeouts (tests use a small one).
    """

    def __init__(self, address: str, token: str = "", patience: float = 1.0) -> None:
        self.address = checked_address(address)
        self._token = token.strip()
        self._patience = patience

    def json(self, method: str, path: str, cancel: Cancel, **parts: Any) -> Any:
        """The JSON body of an answer.

        Raises:
            ServerFailure: with the sentence to show.
        """
        body = bytearray()
        with _sentences(self.address):
            reply = self._send(method, path, cancel, **parts)
            with reply:
                for chunk in self._chunks(reply, cancel, parts.get("seconds", ANSWER_SECONDS)):
                    body += chunk
                    if len(body) > MAX_JSON_BYTES:
                        raise failures.BadReply(_("The server's answer is larger than 64 MiB; it was not taken."))
        try:
            return json.loads(bytes(body).decode("utf-8"))
        except (ValueError, RecursionError):
            raise failures.BadReply(
                _("The server's answer to {path} is not JSON; is {address} a FetalIQA server?").format(
                    path=path, address=self.address
                )
            ) from None

    def file(
        self,
        method: str,
        path: str,
        target: Path,
        cancel: Cancel,
        progress: Progress | None = None,
        **parts: Any,
    ) -> Mapping[str, str]:
        """Write the body of an answer to ``target``; returns the answer's headers.

        Raises:
            ServerFailure: with the sentence to show; also when the body ends too early.
        """
        with _sentences(self.address):
            reply = self._send(method, path, cancel, **parts)
            with reply, open(target, "wb") as file:
                declared = reply.headers.get("content-length", "")
                total = (
                    int(declared) if declared.isdecimal() and not reply.headers.get("content-encoding") else None
                )
                done = 0
                for chunk in self._chunks(reply, cancel, None):
                    done += file.write(chunk)
                    if progress is not None:
                        progress(done, total)
        if total is not None and done != total:
            raise failures.BadReply(
                _("Only {done} of {total} bytes of {path} arrived; try again.").format(
                    done=done, total=total, path=path
                )
            )
        return reply.headers

    def _send(self, method: str, path: str, cancel: Cancel, **parts: Any) -> requests.Response:
        seconds = parts.pop("seconds", ANSWER_SECONDS) * self._patience
        if cancel.is_set():
            raise failures.Canceled(_("Given up."))
        session = requests.Session()
        # a proxy of the environment cannot reach a server on this very machine
        session.trust_env = urlsplit(self.address).hostname not in LOOPBACK
        reply = session.request(
            method,
            self.address + path,
            auth=Bearer(self._token) if self._token else None,
            timeout=(CONNECT_SECONDS * self._patience, seconds),
            stream=True,
            allow_redirects=False,
            **parts,
        )
        if reply.status_code != 200:
            with reply:
                raise _refusal(reply, path)
        return reply

    def _chunks(self, reply: requests.Response, cancel: Cancel, seconds: float | None) -> Any:
        """Pieces of the body; ends with a failure when the user gives up, or when ``seconds`` are over."""
        deadline = None if seconds is None else time.monotonic() + seconds * self._patience
        for chunk in reply.iter_content(CHUNK):
            if cancel.is_set():
                raise failures.Canceled(_("Given up."))
            if deadline is not None and time.monotonic() > deadline:
                raise failures.TooSlow(_("The server's answer takes too long; try again."))
            yield chunk


@contextlib.contextmanager
def _sentences(address: str) -> Iterator[None]:
    """Turn what ``requests`` and the disk raise into sentences."""
    problems = requests.exceptions
    try:
        yield
    except (problems.ContentDecodingError, problems.ChunkedEncodingError) as problem:
        raise failures.BadReply(
            _("The server at {address} broke off its answer; try again.").format(address=address)
        ) from problem
    except problems.SSLError as problem:
        raise failures.Unreachable(
            _("The certificate of {address} is not trusted; ask the server's administrator.").format(
                address=address
            )
        ) from problem
    except problems.RequestException as problem:
        # the timeout of a body that stops coming is a plain ConnectionError
        slow = isinstance(problem, problems.ReadTimeout) or "Read timed out" in str(problem)
        if slow:
            raise failures.TooSlow(
                _("The server at {address} did not answer in time; your work is safe, try again.").format(
                    address=address
                )
            ) from problem
        raise failures.Unreachable(
            _("No server answers at {address}; is it running? Your work is safe, try again later.").format(
                address=address
            )
        ) from problem
    except OSError as problem:
        raise failures.FileFailure(
            _("A file cannot be written ({reason}); is the disk full?").format(reason=problem.strerror)
        ) from problem


def _refusal(reply: requests.Response, path: str) -> failures.Refused:
    """What an answer with an error status says, as a failure."""
    status = reply.status_code
    detail = _detail(reply)
    if status in (401, 403) and not detail:
        detail = _("The server wants a login; enter a token.")
    if status == 401:
        return failures.NeedsLogin(status, _("The server wants a (new) token: {detail}").format(detail=detail))
    if status == 403:
        return failures.NeedsLogin(status, detail)
    sentence = detail or _("The server answered {path} with status {status}; its log says more.").format(
        path=path.split("?")[0], status=status
    )
    kinds = {404: failures.NotThere, 409: failures.Conflict}
    return kinds.get(status, failures.Refused)(status, sentence)


def _detail(reply: requests.Response) -> str:
    """The ``detail`` sentence of an error answer, at most 500 characters; empty when there is none."""
    try:
        body = next(reply.iter_content(1 << 16), b"")
        found = json.loads(body.decode("utf-8"))["detail"]
    except (ValueError, KeyError, TypeError, RecursionError, requests.exceptions.RequestException):
        return ""
    return found[:500] if isinstance(found, str) else ""
