"""Requests that are answered before their body was read."""

from __future__ import annotations

from starlette.types import Receive, Scope

DRAINED_BYTES = 64 * 1024**2  # a client that only reads after it has sent all still gets its answer up to here


def headers_of(scope: Scope) -> dict[str, str]:
    """Headers of a request, names in lower case."""
    return {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}


async def drain(receive: Receive, headers: dict[str, str]) -> None:
    """Read and forget the body, up to a bound, so that the client gets to read the answer."""
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    if headers.get("expect", "").lower() == "100-continue":
        return  # the client waits for leave to send; the answer comes first
    drained = 0
    while drained < DRAINED_BYTES:
        message = await receive()
        drained += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
