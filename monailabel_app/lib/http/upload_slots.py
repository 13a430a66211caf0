"""Bounds on concurrent uploads.

An upload needs disk while it is received and waits, and memory while it is unpacked and checked (351 MB for a case
of 840 x 562 x 744). Both are bounded, separately for labels, so that an annotator's label never waits for images.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Literal

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from monailabel_app.lib.http.refusal import Refused, send_refusal

Kind = Literal["label", "image"]

AT_WORK: dict[Kind, int] = {"label": 4, "image": 2}  # unpacked and checked concurrently; others wait
RECEIVED: dict[Kind, int] = {"label": 64, "image": 16}  # received, waiting or being checked; others are refused
RETRY_SECONDS = 5
SMALL_BYTES = 1024**2  # a smaller request stays in memory, and is not counted
_turns: dict[Kind, anyio.CapacityLimiter] = {}


def _turn(kind: Kind) -> anyio.CapacityLimiter:
    if kind not in _turns:  # made inside the event loop
        _turns[kind] = anyio.CapacityLimiter(AT_WORK[kind])
    return _turns[kind]


def in_turn(kind: Kind) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run an upload endpoint in a thread, while fewer than ``AT_WORK`` others of its kind do.

    Waiting requests occupy none of the threads that answer other requests.
    """

    def decorate(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(endpoint)
        async def run(**arguments: Any) -> Any:
            work = functools.partial(endpoint, **arguments)
            return await anyio.to_thread.run_sync(work, limiter=_turn(kind))

        return run

    return decorate


def kind_of(scope: Scope) -> Kind | None:
    """The kind of an upload; None for other requests."""
    headers = Headers(scope=scope)
    if not headers.get("content-type", "").lower().startswith("multipart/"):
        return None
    length = headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and len(length) < 20 and int(length) <= SMALL_BYTES:
        return None
    return "label" if scope["path"].rstrip("/").endswith("/datastore/label") else "image"


class UploadAdmission:
    """ASGI middleware that refuses an upload with 503 while too many others of its kind are in progress.

    Args:
        app: that it protects.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._here: dict[Kind, int] = {"label": 0, "image": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
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
