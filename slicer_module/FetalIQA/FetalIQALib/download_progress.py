"""Progress of a download, from its thread to the panel."""

from __future__ import annotations


class Download:
    """Progress of a download, written by its thread.

    Attributes:
        done, total: bytes; ``total`` is None if it is not known.
    """

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None

    def set(self, done: int, total: int | None) -> None:
        """Set the progress."""
        self.done, self.total = done, total

    def percent(self) -> int | None:
        """Percent that have arrived; None if that is not known."""
        return None if not self.total else min(100 * self.done // self.total, 100)
