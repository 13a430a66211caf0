"""Checks of every request before any endpoint: size, names in the URL, and origin."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monailabel_app.lib.http.hosts import host_and_port
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.refusal import Refused, as_answer, send_refusal
from monailabel_app.lib.http.upload_limits import CHECK_BYTES, UploadLimits, UploadPurpose, upload_purpose

ID_PARAMETERS = ("image", "label", "id", "tag", "label_tag", "session_id")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
DEFAULT_PORTS = {"http": 80, "https": 443}
STALLED_SECONDS = 60.0  # without a byte of the body, after which the request is refused


class Guard:
    """ASGI middleware.

    Args:
        app: that it protects.
        max_body_bytes: largest request body.
        origins: allowed origins of web pages, scheme and host (``http://viewer.example``).
        uploads: limits for uploads of images.
    """

    def __init__(
        self, app: ASGIApp, max_body_bytes: int, origins: Sequence[str] = (), uploads: UploadLimits | None = None
    ) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.origins = frozenset(origin.lower() for origin in origins)
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_origin(scope["method"], headers)
            _check_url(scope)
            size = self._checked_length(headers)
            purpose = await self._admitted(scope, size)
        except Refused as refused:
            await send_refusal(refused, scope, receive, send)
            return
        await self._counted(scope, receive, send, purpose)

    def _check_origin(self, method: str, headers: Headers) -> None:
        """Refuse requests that a page of another site sends; clients other than browsers send no such headers.

        Raises:
            Refused: 403.
        """
        origins = headers.getlist("origin")
        if origins:
            origin = origins[0]
            if len(origins) > 1 or not (origin.lower() in self.origins or _same_host(origin, headers)):
                raise Refused(403, f"web pages of {origin[:100]} may not call this server; see --conf origins")
            return
        if headers.get("sec-fetch-site", "none").lower() not in ("same-origin", "none"):
            # without an origin, only a link that somebody follows may come from another site: it shows the
            # response to a person. A form, an image or a script of that site may not
            link = (
                headers.get("sec-fetch-mode") == "navigate"
                and headers.get("sec-fetch-dest", "document") == "document"
            )
            if method not in SAFE_METHODS or not link:
                raise Refused(403, "web pages of other sites may not call this server; see --conf origins")
        referer = headers.get("referer")
        if referer and method not in SAFE_METHODS and not _same_host(referer, headers):
            raise Refused(403, f"web pages of {referer[:100]} may not call this server; see --conf origins")

    def _checked_length(self, headers: Headers) -> int | None:
        """Declared bytes of the body; None when they are not declared.

        Raises:
            Refused: 413.
        """
        if "transfer-encoding" in headers:
            return None
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return None
        if int(length) > self.max_body_bytes:
            raise self._too_large()
        return int(length)

    async def _admitted(self, scope: Scope, size: int | None) -> UploadPurpose | None:
        """The purpose of an admitted upload; None for other requests."""
        purpose = upload_purpose(scope["method"], scope["path"], size)
        if self.uploads is None or purpose is None:
            return None
        client = str((scope.get("client") or ("",))[0])
        await anyio.to_thread.run_sync(self.uploads.admit, client, size or 0, purpose)
        return purpose

    def _too_large(self) -> Refused:
        limit = self.max_body_bytes / 1024**2
        return Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE.value,
            f"the request is larger than the limit of {limit:g} MiB; the server's --conf max_upload_mb sets it",
        )

    async def _counted(self, scope: Scope, receive: Receive, send: Send, purpose: UploadPurpose | None) -> None:
        """Pass the request on, and abort it when its body exceeds a limit, or stalls."""
        upload = None if purpose is None else self.uploads
        received = checked = 0
        refused: Refused | None = None
        started = ended = False

        async def counting() -> Message:
            nonlocal received, checked, refused, ended
            if refused is not None:
                return {"type": "http.disconnect"}
            if ended:
                return await receive()  # whether the client is still connected
            with anyio.move_on_after(STALLED_SECONDS) as waiting:
                message = await receive()
            if waiting.cancelled_caught:
                refused = Refused(
                    HTTPStatus.REQUEST_TIMEOUT.value,
                    f"the request stalled for {STALLED_SECONDS:g} seconds; send it again",
                )
                return {"type": "http.disconnect"}
            ended = not message.get("more_body")
            size = len(message.get("body", b""))
            received += size
            if upload is not None:
                upload.add(size)
            if received > self.max_body_bytes:
                refused = self._too_large()
            elif upload is not None and purpose is not None and received - checked >= CHECK_BYTES:
                checked = received
                try:
                    await anyio.to_thread.run_sync(upload.check, 0, purpose)
                except Refused as full:
                    refused = full
            return message if refused is None else {"type": "http.disconnect"}

        async def sending(message: Message) -> None:
            nonlocal started
            if refused is not None and not started:
                return  # the client should see the refusal, not the endpoint's response to an aborted request
            started = True
            await send(message)

        try:
            await self.app(scope, counting, sending)
        finally:
            if upload is not None:
                upload.end(received)
            if refused is not None and not started:
                if ended:
                    await as_answer(refused)(scope, receive, send)
                else:
                    await send_refusal(refused, scope, receive, send)


def _same_host(address: str, headers: Headers) -> bool:
    """True when a page's URL has the host and port that the request was sent to."""
    try:
        parts = urlsplit(address.lower())
    except ValueError:
        return False
    page, called = host_and_port(parts.netloc), host_and_port(headers.get("host", ""))
    if page is None or called is None:
        return False
    usual = DEFAULT_PORTS.get(parts.scheme)
    return (page[0], page[1] or usual) == (called[0], called[1] or usual)


def _check_url(scope: Scope) -> None:
    """Refuse ids that could lead out of the studies folder, and paths with ``..``.

    Raises:
        Refused: 400.
    """
    path = unquote(scope["path"])
    if "\\" in path or "\0" in path or ".." in path.split("/"):
        raise Refused(400, "the URL contains '..', a backslash or a NUL character; use plain names")
    query = scope["query_string"].decode("latin-1")
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in ID_PARAMETERS and value:
            check_id(key, value)
