"""A cache in memory, bounded in bytes: the least recently used values go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class RecentValues(Generic[Value]):
    """Values by key, the most recently used ones, of ``max_bytes`` together; may be used from several threads.

    The latest value is kept whatever its size, so that a case larger than the bound is not read for each click.

    Args:
        max_bytes: bound.

    Examples:
        >>> recent = RecentValues(10)
        >>> recent.put("a", "A", 6)
        >>> recent.put("b", "B", 6)
        >>> recent.get("a"), recent.get("b"), recent.nbytes
        (None, 'B', 6)
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self.nbytes = 0

    def get(self, key: Hashable) -> Value | None:
        """The value of a key, which becomes the most recent one; None where there is none."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: Value, nbytes: int) -> None:
        """Keep a value of ``nbytes``."""
        with self._lock:
            old = self._values.pop(key, None)
            self.nbytes += nbytes - (0 if old is None else old[1])
            self._values[key] = value, nbytes
            while self.nbytes > self.max_bytes and len(self._values) > 1:
                _, (_, gone) = self._values.popitem(last=False)
                self.nbytes -= gone
