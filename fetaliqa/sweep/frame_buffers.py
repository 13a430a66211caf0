"""Reusable memory for stacks of frames.

A case of 840 slots takes 350 MB for its frames and as much for its masks. Memory that is freed and allocated again
is cleared by the system page by page; in virtual machines that can take longer than reading the file.
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
    """Pool of memory for stacks, limited to the largest amount in use at one time.

    Stacks can be sliced and shared with other threads: memory returns to the pool when the last array on it is
        freed.
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
        lease = (ctypes.c_uint8 * size).from_buffer(memory.data)  # referenced by every array on it
        weakref.finalize(lease, self._free.append, memory).atexit = False
        return np.frombuffer(memoryview(lease), np.uint8).reshape(shape)

    def _taken(self, size: int) -> np.ndarray:
        fitting = [number for number, memory in enumerate(self._free) if memory.nbytes >= size]
        if fitting:
            return self._free.pop(min(fitting, key=lambda number: self._free[number].nbytes))
        self._free.clear()  # all too small: with growing cases, old buffers must not accumulate
        return np.empty(size, np.uint8)


_used: ContextVar[StackMemory | None] = ContextVar("stack memory", default=None)


@contextmanager
def stacks_from(memory: StackMemory) -> Iterator[None]:
    """Context in which stacks that this thread reads are allocated from ``memory``."""
    before = _used.set(memory)
    try:
        yield
    finally:
        _used.reset(before)


def uninitialised(shape: tuple[int, int, int]) -> np.ndarray:
    """An uninitialised uint8 stack, from the pool of ``stacks_from`` if there is one.

    Raises:
        MemoryError, ValueError: when there is no memory for it.
    """
    memory = _used.get()
    return np.empty(shape, np.uint8) if memory is None else memory.stack(shape)
