"""Memory for stacks of frames that is used again, case after case.

A case of 840 slots takes 350 MB for its frames and as much for its masks. Memory that is given back and asked for
again is cleared by the system page by page; in virtual machines that can take longer than reading the file.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np


class StackMemory:
    """Memory of stacks that nobody holds any more, for the next ones; no more than was ever held at once.

    A stack may be handed on, cut, and used by other threads: its memory is free when the last array on it is gone.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

    def stack(self, shape: tuple[int, int, int]) -> np.ndarray:
        """An uninitialised uint8 stack.

        Raises:
            MemoryError: when there is no memory for it.
        """
        size = math.prod(shape)
        memory = self._taken(size)
        lease = (ctypes.c_uint8 * size).from_buffer(memory.data)  # held by every array on it
        weakref.finalize(lease, self._free.append, memory).atexit = False
        return np.frombuffer(memoryview(lease), np.uint8).reshape(shape)

    def _taken(self, size: int) -> np.ndarray:
        fitting = [number for number, memory in enumerate(self._free) if memory.nbytes >= size]
        if fitting:
            return self._free.pop(min(fitting, key=lambda number: self._free[number].nbytes))
        self._free.clear()  # all too small: cases grow, and what they leave behind must not add up
        return np.empty(size, np.uint8)


_used: ContextVar[StackMemory | None] = ContextVar("stack memory", default=None)


@contextmanager
def stacks_from(memory: StackMemory) -> Iterator[None]:
    """Within this, what this thread reads lies in ``memory``."""
    before = _used.set(memory)
    try:
        yield
    finally:
        _used.reset(before)


def uninitialised(shape: tuple[int, int, int]) -> np.ndarray:
    """An uninitialised uint8 stack: in the memory of ``stacks_from``, else of its own.

    Raises:
        MemoryError, ValueError: when there is no memory for it.
    """
    memory = _used.get()
    return np.empty(shape, np.uint8) if memory is None else memory.stack(shape)
