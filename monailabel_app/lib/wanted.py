"""Work that ends when nobody waits for its answer any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
from fastapi import Request

from fetaliqa.errors import RequestStopped

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25  # between two looks whether the client is still there
T = TypeVar("T")


async def while_wanted(
    request: Request, work: Callable[[Callable[[], bool]], T], limiter: anyio.CapacityLimiter
) -> T:
    """Run ``work`` in a thread when it is its turn; not at all, or not to its end, when the client has gone.

    Args:
        request: whose body was read already.
        work: is given a function that says whether to stop, and raises ``RequestStopped`` when it does.
        limiter: how many run at once.

    Raises:
        RequestStopped: when the client has gone.
    """
    gone = threading.Event()

    async def watch(scope: anyio.CancelScope) -> None:
        while not await request.is_disconnected():
            await anyio.sleep(LOOK_SECONDS)
        gone.set()
        scope.cancel()  # ends the waiting for a turn; work that runs is waited for, and sees ``gone``

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
        begun = "stopped" if problem is not None else "done in vain" if outcome else "not begun"
        logger.info("%s: the client has gone; %s", request.url.path, begun)
    if problem is not None:
        raise problem
    if not outcome:
        raise RequestStopped()
    return outcome[0]
