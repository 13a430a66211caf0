"""What every request passes before any endpoint: size, names in the address, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monailabel_app.lib.draining import drain, headers_of
from monailabel_app.lib.ids import check_id
from monailabel_app.lib.refusal import Refused

ID_PARAMETERS = ("image", "label", "id", "tag", "label_tag", "session_id")


class Guard:
    """ASGI middleware.

    Args:
        app: what it protects.
        max_body_bytes: largest request body.
        origins: origins of web pages that may call, scheme and host (``http://viewer.example``).
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, origins: Sequence[str] = ()) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.origins = tuple(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request here, pass the others on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = headers_of(scope)
        try:
            self._check_origin(headers)
            _check_address(scope)
            self._check_length(headers)
        except Refused as refused:
            await drain(receive, headers)
            await JSONResponse({"detail": refused.detail}, refused.status_code)(scope, receive, send)
            return
        await self._counted(scope, receive, send)

    def _check_origin(self, headers: dict[str, str]) -> None:
        origin = headers.get("origin")
        if origin is None or origin in self.origins:
            return
        if urlsplit(origin).netloc != headers.get("host"):
            raise Refused(403, f"web pages of {origin[:100]} may not call this server; see --conf origins")

    def _check_length(self, headers: dict[str, str]) -> None:
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.max_body_bytes:
            raise self._too_large()

    def _too_large(self) -> Refused:
        limit = self.max_body_bytes / 1024**2
        return Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE.value,
            f"the request is larger than the limit of {limit:g} MiB; the server's --conf max_upload_mb sets it",
        )

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and cut it off when a body of undeclared length outgrows the limit."""
        received = 0
        exceeded = False
        started = False

        async def counting() -> Message:
            nonlocal received, exceeded
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body_bytes:
                exceeded = True
                return {"type": "http.disconnect"}
            return message

        async def sending(message: Message) -> None:
            nonlocal started
            if exceeded and not started:
                return  # the endpoint's answer to a request cut short is not what the client should see
            started = True
            await send(message)

        try:
            await self.app(scope, counting, sending)
        finally:
            if exceeded and not started:
                refused = self._too_large()
                await JSONResponse({"detail": refused.detail}, refused.status_code)(scope, receive, send)


def _check_address(scope: Scope) -> None:
    """Refuse ids that could lead out of the studies folder, and paths that climb.

    Raises:
        Refused: 400.
    """
    path = unquote(scope["path"])
    if "\\" in path or "\0" in path or ".." in path.split("/"):
        raise Refused(400, "the address contains '..', a backslash or a NUL character; use plain names")
    query = scope["query_string"].decode("latin-1")
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in ID_PARAMETERS and value:
            check_id(key, value)
