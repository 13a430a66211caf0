"""HTTP session with an archive: bounded in size and time, without redirects."""

from __future__ import annotations

import time
from typing import Any

import requests

CONNECT_SECONDS = 10.0  # until the archive accepts a connection
SILENT_SECONDS = 60.0  # until the response begins, and between two chunks of it
FETCH_SECONDS = 600.0  # likewise for a cine, which an archive may read from tape or decompress first
ANSWER_SECONDS = 1800.0  # for a whole response: 2 GiB at 10 Mbit/s
ANSWER_BYTES = 256 * 1024**2  # of a response held in memory: a list of some 100,000 instances
_CHUNK = 1 << 20


class TooLarge(requests.RequestException):
    """A response is larger than the limit."""


class ArchiveSession(requests.Session):
    """A session that follows no redirect, so that the login is sent to the configured address only.

    Args:
        login: user name and password, or None.
    """

    def __init__(self, login: tuple[str, str] | None) -> None:
        super().__init__()
        self.auth = login
        self.max_redirects = 0  # the first redirect is an error
        self.headers["Accept"] = "application/dicom+json"

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """As in requests; the response is read here unless ``stream`` is set."""
        streamed = options.pop("stream", False)
        options["timeout"] = options.get("timeout") or (CONNECT_SECONDS, SILENT_SECONDS)
        response = super().send(request, stream=True, **options)
        if not streamed:
            response._content = b"".join(chunks(response, ANSWER_BYTES))
        return response


def chunks(response: requests.Response, most: int) -> Any:
    """The body of a response in chunks.

    Raises:
        TooLarge: when it has more than ``most`` bytes.
        requests.Timeout: when it takes too long.
    """
    received, deadline = 0, time.monotonic() + ANSWER_SECONDS
    with response:
        for chunk in response.iter_content(_CHUNK):
            received += len(chunk)
            if received > most:
                raise TooLarge(f"larger than the limit of {most / 1024**2:g} MiB")
            if time.monotonic() > deadline:
                raise requests.Timeout(f"not finished after {ANSWER_SECONDS:g} s")
            yield chunk
