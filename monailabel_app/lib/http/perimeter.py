"""The outermost layer of the app: checks of the Host header and the network, and security headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monailabel_app.lib.http.hosts import host_and_port
from monailabel_app.lib.http.refusal import Refused, send_refusal

# For responses that are not pages: nothing in them may run or load, whatever a browser takes them for
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Perimeter:
    """ASGI middleware around everything else, error pages included.

    Args:
        app: that it wraps.
        hosts: host names that requests may be sent to, as ``hosts.allowed_hosts`` gives them.
        others: whether other machines are answered.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], others: bool) -> None:
        self.app = app
        self.hosts = frozenset(hosts)
        self.others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] == "websocket":  # not used here; browsers open them without a CORS check
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", NOTHING)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            arrived = _arrived_at(scope)
            self._check_others(arrived)
            self._check_host(scope, arrived)
        except Refused as refused:
            await send_refusal(refused, scope, receive, sending)
            return
        await self.app(scope, receive, sending)

    def _check_others(self, arrived: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> None:
        if self.others or arrived is None or arrived.is_loopback:
            return
        raise Refused(403, "this server has no login and answers its own machine only; see --conf open")

    def _check_host(self, scope: Scope, arrived: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> None:
        values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(values) != 1:
            raise Refused(400, "the request needs the header Host exactly once")
        host = host_and_port(values[0])
        if host is None:
            raise Refused(400, f"{values[0][:100]!r} is not a host name (header Host)")
        # an address, unlike a name, cannot be rebound to another machine
        here = arrived is not None and host[0] in (str(arrived), f"[{arrived}]")
        if host[0] not in self.hosts and not here:
            raise Refused(
                400,
                f"{host[0][:100]} is not a host name of this server (header Host): use localhost, or --conf hosts",
            )


class Front(FastAPI):
    """An app within its perimeter.

    Args:
        hosts, others: see ``Perimeter``.
        options: of FastAPI.
    """

    def __init__(self, *, hosts: Iterable[str], others: bool, **options: Any) -> None:
        super().__init__(**options)
        self._perimeter = hosts, others

    def build_middleware_stack(self) -> ASGIApp:
        # also around FastAPI's own outermost middleware, which answers unexpected errors
        return Perimeter(super().build_middleware_stack(), *self._perimeter)


def _arrived_at(scope: Scope) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of this machine that the request came to; None for a Unix socket."""
    try:
        address = ipaddress.ip_address(str((scope.get("server") or ("",))[0]).partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
