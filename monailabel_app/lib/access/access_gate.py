"""The gate in front of all endpoints: it checks who sends a request, and the role, before the body is read."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monailabel_app.lib.access.access_rules import AccessRules, Rule
from monailabel_app.lib.access.identity import IDENTITY, Identity, nobody, refusal, sender
from monailabel_app.lib.access.login_service import BEARER, Login
from monailabel_app.lib.access.role_names import ANYONE
from monailabel_app.lib.http.refusal import DRAINED_BYTES, Refused, as_answer, as_refusal, send_refusal

MAX_BODY = 64 * 1024  # bytes that somebody who is not signed in may send
TOO_LARGE = f"the request is larger than {MAX_BODY // 1024} KiB, and nobody is signed in"
RECORDED = ("image", "label", "id", "tag", "version", "final", "model", "limit_cases")  # of a query


class AccessGate:
    """ASGI middleware.

    Args:
        app: that it protects.
        login: of the server.
        rules: of its endpoints.
    """

    def __init__(self, app: ASGIApp, login: Login, rules: AccessRules) -> None:
        self.app = app
        self.login = login
        self.rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        rule = self.rules.of(scope["method"], _route_path(scope))
        identity: Identity | None = None
        try:
            identity = await self._identity(scope, rule)
        except Refused as refused:
            await send_refusal(refused, scope, receive, send)
            return
        if identity is None:
            body = await _small_body(receive)
            if body is None:
                await as_answer(Refused(413, TOO_LARGE))(scope, receive, send)
                return
            receive = body
        scope[IDENTITY] = identity = identity or nobody()
        sender.set(identity)
        if not (rule and rule.action and self.login.audit):
            await self.app(scope, receive, send)
            return
        action = rule.action

        async def recording(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                await anyio.to_thread.run_sync(self._record, action, scope, identity)
            await send(message)

        await self.app(scope, receive, recording)

    async def _identity(self, scope: Scope, rule: Rule | None) -> Identity | None:
        """Who sends a request; None when it needs nobody to be signed in, and nobody is.

        Raises:
            Refused: 401 when nobody is signed in, 403 when the role does not suffice.
        """
        public = rule is not None and rule.role == ANYONE
        try:
            if self.login.required:  # in a thread: it looks at files
                identity = await anyio.to_thread.run_sync(self._asked, Headers(scope=scope))
            else:
                identity = self.login.identify(Headers(scope=scope))
        except Refused:
            if public:  # signing in again is possible with an old cookie or token
                return None
            raise
        if public:
            return identity
        if identity is None:
            raise Refused(401, "nobody is signed in, or the session has ended; sign in, or send a token", BEARER)
        # a path that no endpoint has is answered by the app, which says so
        needed = rule.role if rule is not None else ANYONE
        if identity.may(needed):
            return identity
        if rule is not None and self.login.audit is not None:
            await anyio.to_thread.run_sync(self._record, "refused", scope, identity, f"{rule.method} {rule.path}")
        raise Refused(403, refusal(needed, identity))

    def _asked(self, headers: Headers) -> Identity | None:
        with as_refusal():
            return self.login.identify(headers)

    def _record(self, action: str, scope: Scope, identity: Identity, request: str | None = None) -> None:
        if self.login.audit is None:
            return
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        details: dict[str, Any] = {key: value for key, value in query if key in RECORDED}
        details |= {key: str(value) for key, value in dict(scope.get("path_params") or {}).items()}
        self.login.audit.add(
            action,
            identity.username or None,
            client_address(scope),
            **{**details, **identity.details, "request": request},
        )


def client_address(scope: Scope) -> str:
    """The address of a request's client; that of a trusted proxy's client where there is one."""
    return str((scope.get("client") or ("",))[0])


def _route_path(scope: Scope) -> str:
    """The path of a request below the path that a proxy forwards."""
    path, root = str(scope["path"]), str(scope.get("root_path") or "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


async def _small_body(receive: Receive) -> Receive | None:
    """The body of somebody who is not signed in, as what gives it to the app; None when it is too large.

    A larger body is read and discarded, up to a bound, so that the client reads the response.
    """
    messages: list[Message] = []
    size = 0
    while size < DRAINED_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        if size <= MAX_BODY:
            messages.append(message)
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    if size > MAX_BODY:
        return None

    async def replay() -> Message:
        return messages.pop(0) if messages else await receive()

    return replay
