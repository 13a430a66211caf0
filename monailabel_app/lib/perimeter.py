"""The outermost layer of the front: whom it answers, and what every answer says to browsers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monailabel_app.lib.hosts import host_and_port
from monailabel_app.lib.refusal import Refused, send_refusal

# Of answers that are no page: nothing in them may run or load, whatever a browser takes them for
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
        app: what it surrounds.
        hosts: names that requests may be sent to, as ``hosts.allowed_hosts`` gives them.
        others: whether machines other than this one may be answered.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], others: bool) -> None:
        self.app = app
        self.hosts = frozenset(hosts)
        self.others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request here, pass the others on."""
        if scope["type"] == "websocket":  # there are none here; a browser would not ask before it opens one
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
        raise Refused(
            403, "this server has no login and is for its own machine only; its --conf open true would change that"
        )

    def _check_host(self, scope: Scope, arrived: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> None:
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1:
            raise Refused(400, "the request must say to which host it is sent, once (header Host)")
        found = host_and_port(given[0])
        if found is None:
            raise Refused(400, f"{given[0][:100]!r} is no host name (header Host)")
        # an address, unlike a name, leads everybody to the same machine
        here = arrived is not None and found[0] in (str(arrived), f"[{arrived}]")
        if found[0] not in self.hosts and not here:
            raise Refused(
                400,
                f"{found[0][:100]} is no name of this server (header Host): use localhost, or --conf hosts",
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
        # outside of what FastAPI itself puts outside of all middleware: its answer to an unexpected error
        return Perimeter(super().build_middleware_stack(), *self._perimeter)


def _arrived_at(scope: Scope) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address of this machine that the request came to; None for a Unix socket."""
    try:
        address = ipaddress.ip_address(str((scope.get("server") or ("",))[0]).partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
