"""Progress bars of commands that work in stages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def moves(bar: Any) -> Callable[[int, int | None], None]:
    """A callback (done, in all) that moves a tqdm bar."""

    def progress(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return progress


class Bars:
    """One progress bar after the other, on standard error."""

    def __init__(self) -> None:
        self._bars: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in self._bars.values():
            bar.close()

    def report(self, stage: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if stage not in self._bars:
            self._bars[stage] = tqdm(total=total, desc=stage, file=sys.stderr, mininterval=1, disable=None)
        self._bars[stage].update(done - self._bars[stage].n)

    def say(self, sentence: str) -> None:
        """A line above the bars."""
        from tqdm import tqdm

        tqdm.write(sentence, file=sys.stderr)
