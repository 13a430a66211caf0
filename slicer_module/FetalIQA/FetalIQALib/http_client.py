"""HTTP requests: timeouts, cancellation, and one readable message for every error."""

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

from FetalIQALib import client_errors
from FetalIQALib.translation import _

CONNECT_SECONDS = 5.0  # a server on the hospital's own network answers in milliseconds
ANSWER_SECONDS = 30.0  # for look-ups
COMPUTE_SECONDS = 900.0  # for an assessment on a CPU
MAX_JSON_BYTES = 64 << 20  # the assessment of an 840-frame case is about 1 MB
DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK = ("127.0.0.1", "localhost", "::1")  # names of the local machine
CHUNK = 1 << 18  # bytes between two checks for cancellation

Cancel = threading.Event
Progress = Callable[[int, Optional[int]], None]


def checked_address(address: str) -> str:
    """Normalize a server address: scheme added (``http://``), scheme and host in lower case, no default port, no
    trailing slash.

    Raises:
        FetalIQAError: if it is not a server address.
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
        raise client_errors.FetalIQAError(
            _("{address!r} is not a server address; use a form like http://127.0.0.1:8000.").format(
                address=address[:80]
            )
        )
    host = str(parts.hostname)
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def canonical_address(address: str) -> str:
    """Canonical address of a server: normalized, and with one name for the local machine."""
    try:
        text = checked_address(address)
    except client_errors.FetalIQAError:
        return address
    parts = urlsplit(text)
    if parts.hostname not in LOOPBACK:
        return text
    return parts._replace(netloc=f"{LOOPBACK[0]}{'' if parts.port is None else f':{parts.port}'}").geturl()


class Bearer(requests.auth.AuthBase):
    """Bearer token, passed as ``auth`` because a netrc file would replace a plain header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class HttpClient:
    """HTTP client of one server. Every call opens its own connection, so threads may share the client.

    Args:
        address: of the server, ``http://host:port``.
        token: sent as ``Authorization: Bearer``; empty for none.
        timeout_factor: factor on all timeouts (small in tests).
    """

    def __init__(self, address: str, token: str = "", timeout_factor: float = 1.0) -> None:
        self.address = checked_address(address)
        self._token = token.strip()
        self._timeout_factor = timeout_factor

    def json(self, method: str, path: str, cancel: Cancel, **parts: Any) -> Any:
        """JSON body of a response.

        Raises:
            RequestError: with a message to show.
        """
        body = bytearray()
        with _readable_errors(self.address):
            reply = self._send(method, path, cancel, **parts)
            with reply:
                for chunk in self._chunks(reply, cancel, parts.get("seconds", ANSWER_SECONDS)):
                    body += chunk
                    if len(body) > MAX_JSON_BYTES:
                        raise client_errors.InvalidResponse(
                            _("The server's response is larger than 64 MiB and was rejected.")
                        )
        try:
            return json.loads(bytes(body).decode("utf-8"))
        except (ValueError, RecursionError):
            raise client_errors.InvalidResponse(
                _("The server's response to {path} is not JSON; is {address} a FetalIQA server?").format(
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
        """Write the body of a response to ``target``; returns the response's headers.

        Raises:
            RequestError: with a message to show; also if the body is incomplete.
        """
        with _readable_errors(self.address):
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
            raise client_errors.InvalidResponse(
                _("Only {done} of {total} bytes of {path} arrived; try again.").format(
                    done=done, total=total, path=path
                )
            )
        return reply.headers

    def _send(self, method: str, path: str, cancel: Cancel, **parts: Any) -> requests.Response:
        seconds = parts.pop("seconds", ANSWER_SECONDS) * self._timeout_factor
        if cancel.is_set():
            raise client_errors.RequestCanceled(_("Canceled."))
        session = requests.Session()
        # proxies from the environment cannot reach the local machine
        session.trust_env = urlsplit(self.address).hostname not in LOOPBACK
        reply = session.request(
            method,
            self.address + path,
            auth=Bearer(self._token) if self._token else None,
            timeout=(CONNECT_SECONDS * self._timeout_factor, seconds),
            stream=True,
            allow_redirects=False,
            **parts,
        )
        if reply.status_code != 200:
            with reply:
                raise _refusal(reply, path)
        return reply

    def _chunks(self, reply: requests.Response, cancel: Cancel, seconds: float | None) -> Any:
        """Chunks of the body; raises when the request is canceled or ``seconds`` have passed."""
        deadline = None if seconds is None else time.monotonic() + seconds * self._timeout_factor
        for chunk in reply.iter_content(CHUNK):
            if cancel.is_set():
                raise client_errors.RequestCanceled(_("Canceled."))
            if deadline is not None and time.monotonic() > deadline:
                raise client_errors.RequestTimeout(_("The server's response took too long; try again."))
            yield chunk


@contextlib.contextmanager
def _readable_errors(address: str) -> Iterator[None]:
    """Convert exceptions of ``requests`` and the file system into readable errors."""
    problems = requests.exceptions
    try:
        yield
    except (problems.ContentDecodingError, problems.ChunkedEncodingError) as problem:
        raise client_errors.InvalidResponse(
            _("The server at {address} closed the connection early; try again.").format(address=address)
        ) from problem
    except problems.SSLError as problem:
        raise client_errors.ServerUnreachable(
            _("The certificate of {address} is not trusted; ask the server's administrator.").format(
                address=address
            )
        ) from problem
    except problems.RequestException as problem:
        # a timeout while reading the body is a plain ConnectionError
        slow = isinstance(problem, problems.ReadTimeout) or "Read timed out" in str(problem)
        if slow:
            raise client_errors.RequestTimeout(
                _("The server at {address} did not respond in time. Your work is saved; try again.").format(
                    address=address
                )
            ) from problem
        raise client_errors.ServerUnreachable(
            _("No server responds at {address}. Check that it is running; your work is saved.").format(
                address=address
            )
        ) from problem
    except OSError as problem:
        raise client_errors.FileError(
            _("A file cannot be written ({reason}); is the disk full?").format(reason=problem.strerror)
        ) from problem


def _refusal(reply: requests.Response, path: str) -> client_errors.RequestRefused:
    """The error of a response with an error status."""
    status = reply.status_code
    detail = _detail(reply)
    if status in (401, 403) and not detail:
        detail = _("Authentication required.")
    if status == 401:
        return client_errors.AuthenticationRequired(
            status, _("Authentication failed: {detail} Enter a valid token.").format(detail=detail)
        )
    if status == 403:
        return client_errors.AuthenticationRequired(status, detail)
    message = detail or _("The server responded to {path} with status {status}; see its log.").format(
        path=path.split("?")[0], status=status
    )
    error_types = {404: client_errors.NotFound, 409: client_errors.VersionConflict}
    return error_types.get(status, client_errors.RequestRefused)(status, message)


def _detail(reply: requests.Response) -> str:
    """The ``detail`` of an error response, at most 500 characters; empty if there is none."""
    try:
        body = next(reply.iter_content(1 << 16), b"")
        detail = json.loads(body.decode("utf-8"))["detail"]
    except (ValueError, KeyError, TypeError, RecursionError, requests.exceptions.RequestException):
        return ""
    return detail[:500] if isinstance(detail, str) else ""
