"""How many uploads are at work at once.

An upload costs disk while it is received and waits, and memory while it is unpacked and checked (a case of
840 x 562 x 744 is 351 MB then). Both are bounded, for labels apart from everything else: an annotator's work is
neither refused nor held up because images are being sent.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Literal

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from monailabel_app.lib.refusal import Refused, send_refusal

Kind = Literal["label", "image"]

AT_WORK: dict[Kind, int] = {"label": 4, "image": 2}  # unpacked and checked at once; others wait
RECEIVED: dict[Kind, int] = {"label": 64, "image": 16}  # received, waiting or at work at once; others are refused
RETRY_SECONDS = 5
SMALL_BYTES = 1024**2  # a request up to here stays in memory while it is received, and is no burden
_turns: dict[Kind, anyio.CapacityLimiter] = {}


def _turn(kind: Kind) -> anyio.CapacityLimiter:
    if kind not in _turns:  # made inside the event loop
        _turns[kind] = anyio.CapacityLimiter(AT_WORK[kind])
    return _turns[kind]


def in_turn(kind: Kind) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have an endpoint that takes uploads run in a thread, when fewer than ``AT_WORK`` others of its kind do.

    Those that wait take none of the threads that answer all other requests.
    """

    def decorate(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(endpoint)
        async def run(**arguments: Any) -> Any:
            work = functools.partial(endpoint, **arguments)
            return await anyio.to_thread.run_sync(work, limiter=_turn(kind))

        return run

    return decorate


def kind_of(scope: Scope) -> Kind | None:
    """Which kind of upload a request is; None when it is none."""
    headers = Headers(scope=scope)
    if not headers.get("content-type", "").lower().startswith("multipart/"):
        return None
    length = headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and len(length) < 20 and int(length) <= SMALL_BYTES:
        return None
    return "label" if scope["path"].rstrip("/").endswith("/datastore/label") else "image"


class UploadAdmission:
    """ASGI middleware: refuses an upload with 503 while too many others of its kind are received or wait.

    Args:
        app: what it protects.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._here: dict[Kind, int] = {"label": 0, "image": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        kind = kind_of(scope) if scope["type"] == "http" else None
        if kind is None:
            await self.app(scope, receive, send)
            return
        if self._here[kind] >= RECEIVED[kind]:
            refused = Refused(
                HTTPStatus.SERVICE_UNAVAILABLE.value,
                f"{RECEIVED[kind]} uploads are being received already; try again in {RETRY_SECONDS} seconds",
                {"Retry-After": str(RETRY_SECONDS)},
            )
            await send_refusal(refused, scope, receive, send)
            return
        self._here[kind] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._here[kind] -= 1
