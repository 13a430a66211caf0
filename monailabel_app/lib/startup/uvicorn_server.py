"""Runs uvicorn on sockets that are already open."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Sequence
from typing import Any

import uvicorn

from monailabel_app.lib.http.hosts import as_host

logger = logging.getLogger("uvicorn.error")


def run_on(sockets: Sequence[socket.socket], app: str, log_config: dict[str, Any]) -> None:
    """Serve until stopped.

    Args:
        sockets: listening sockets.
        app: module and name of the ASGI app.
        log_config: for ``logging.config.dictConfig``.
    """
    config = uvicorn.Config(app, log_config=log_config, access_log=False)
    with contextlib.suppress(KeyboardInterrupt):  # raised by uvicorn after Ctrl+C
        _Server(config).run(sockets=list(sockets))


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for sock in sockets or []:  # uvicorn logs this for sockets that it opened itself
            address, port, *_ = sock.getsockname()
            logger.info("Uvicorn running on http://%s:%d (Press CTRL+C to quit)", as_host(address), port)
