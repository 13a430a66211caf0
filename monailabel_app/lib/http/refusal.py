"""Refusals: FetalIQA errors that are HTTP responses too.

FastAPI turns an ``HTTPException`` into its status and ``{"detail": sentence}``. Raising it from the app and
the datastore gives clients of MONAI Label's plain server (``start_server`` without ``front.py``) the sentence too,
where another exception would be "500 Internal Server Error".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import anyio
from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from fetaliqa.errors import FetalIQAError

DRAINED_BYTES = 64 * 1024**2  # up to here, a client that reads only after it has sent everything gets the response
DRAINED_SECONDS = 5.0  # of silence, after which the client is taken to wait for the response


class Refused(HTTPException, FetalIQAError):
    """A request that is refused.

    Args:
        status: HTTP status.
        sentence: what is wrong, with which value, and what to do.
        headers: of the response.
    """

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        HTTPException.__init__(self, status_code=status, detail=sentence, headers=headers)
        self.http_status = status

    def __str__(self) -> str:
        return str(self.detail)


@contextlib.contextmanager
def as_refusal() -> Iterator[None]:
    """Let the library's errors leave the block as refusals with their own HTTP status."""
    try:
        yield
    except Refused:
        raise
    except FetalIQAError as error:
        raise Refused(error.http_status, str(error), retry_header(error)) from error


def retry_header(error: FetalIQAError) -> dict[str, str] | None:
    """The Retry-After header of an error that has a retry time."""
    return None if error.retry_after is None else {"Retry-After": str(error.retry_after)}


async def send_refusal(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to a request whose body was not read."""
    await _drain(receive, Headers(scope=scope))
    await as_answer(refused)(scope, receive, send)


def as_answer(refused: Refused) -> JSONResponse:
    """The response for a refusal."""
    return JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)


async def _drain(receive: Receive, headers: Headers) -> None:
    """Read and discard the body, up to a bound, so that the client reads the response."""
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    if headers.get("expect", "").lower() == "100-continue":
        return  # the client sends its body only after a go-ahead
    drained = 0
    while drained < DRAINED_BYTES:
        message: Message = {"type": "http.disconnect"}
        with anyio.move_on_after(DRAINED_SECONDS):
            message = await receive()
        drained += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
