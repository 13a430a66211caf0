"""Work that is cancelled when its client disconnects."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
from fastapi import Request

from fetaliqa.errors import RequestStopped

logger = logging.getLogger(__name__)

CHECK_SECONDS = 0.25  # between two checks of the connection
T = TypeVar("T")


async def run_while_connected(
    request: Request, work: Callable[[Callable[[], bool]], T], limiter: anyio.CapacityLimiter
) -> T:
    """Run ``work`` in a thread when the limiter admits it; cancel it when the client disconnects.

    Args:
        request: whose body has been read.
        work: is given a function that says whether to stop, and raises ``RequestStopped`` when it does.
        limiter: bounds how many run at once.

    Raises:
        RequestStopped: when the client has disconnected.
    """
    gone = threading.Event()

    async def watch(scope: anyio.CancelScope) -> None:
        while not await request.is_disconnected():
            await anyio.sleep(CHECK_SECONDS)
        gone.set()
        scope.cancel()  # ends waiting for the limiter; work that runs is awaited, and sees ``gone``

    outcome: list[T] = []
    problem: BaseException | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(watch, group.cancel_scope)
        try:
            outcome.append(await anyio.to_thread.run_sync(work, gone.is_set, limiter=limiter))
        except Exception as error:  # noqa: BLE001 (raised again below: a task group would wrap it)
            problem = error
        group.cancel_scope.cancel()
    if gone.is_set():
        progress = "stopped" if problem is not None else "finished too late" if outcome else "not started"
        logger.info("%s: the client has disconnected; %s", request.url.path, progress)
    if problem is not None:
        raise problem
    if not outcome:
        raise RequestStopped()
    return outcome[0]
