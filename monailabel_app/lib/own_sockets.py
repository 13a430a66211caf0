"""MONAI Label's ``start_server`` on sockets that are open already."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Sequence
from typing import Any

import uvicorn
from monailabel.main import Main

from monailabel_app.lib.hosts import as_host

logger = logging.getLogger("uvicorn.error")


class OwnSockets(Main):
    """The command with its own options, but for the sockets.

    Args:
        sockets: that listen.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        super().__init__(loglevel=logging.WARNING, actions="start_server")
        self._sockets = list(sockets)

    def action_start_server(self, args: Any) -> None:
        self.start_server_validate_args(args)
        self.start_server_init_settings(args)
        config = uvicorn.Config(
            args.uvicorn_app,
            host=args.host,
            port=args.port,
            log_config=args.log_config,
            use_colors=True,
            access_log=False,
        )
        with contextlib.suppress(KeyboardInterrupt):  # how uvicorn says that it was stopped by Ctrl+C
            _Server(config).run(sockets=self._sockets)


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for sock in sockets or []:  # uvicorn says it of sockets that it opened itself
            address, port, *_ = sock.getsockname()
            logger.info("Uvicorn running on http://%s:%d (Press CTRL+C to quit)", as_host(address), port)
