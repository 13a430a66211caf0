"""How distillation tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, int, int], None]  # (stage, done, in all)


def stage(report: Report, name: str) -> Callable[[int, int], None]:
    """A report of one stage: called with (done, in all)."""
    return lambda done, total: report(name, done, total)
