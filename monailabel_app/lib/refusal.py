"""Refusals that any server can show: a FetalIQA error that is also an HTTP answer.

FastAPI turns an ``HTTPException`` into its status and ``{"detail": sentence}``. Raising it from the app and
the datastore gives clients of MONAI Label's plain server (``start_server`` without our front) the sentence
too, where an ordinary exception would be "500 Internal Server Error".
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

DRAINED_BYTES = 64 * 1024**2  # a client that only reads after it has sent all still gets its answer up to here
DRAINED_SECONDS = 5.0  # that it may pause in doing so; one that waits for the answer gets it then


class Refused(HTTPException, FetalIQAError):
    """A request that is not carried out.

    Args:
        status: HTTP status.
        sentence: what, which value, what to do.
        headers: of the answer.
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
    """The header that says when to try again, where an error knows."""
    return None if error.retry_after is None else {"Retry-After": str(error.retry_after)}


async def send_refusal(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with a refusal, its body unread."""
    await _drain(receive, Headers(scope=scope))
    await as_answer(refused)(scope, receive, send)


def as_answer(refused: Refused) -> JSONResponse:
    """The answer that says it."""
    return JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)


async def _drain(receive: Receive, headers: Headers) -> None:
    """Read and forget the body, up to a bound, so that the client gets to read the answer."""
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    if headers.get("expect", "").lower() == "100-continue":
        return  # the client waits for leave to send; the answer comes first
    drained = 0
    while drained < DRAINED_BYTES:
        message: Message = {"type": "http.disconnect"}
        with anyio.move_on_after(DRAINED_SECONDS):
            message = await receive()
        drained += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
