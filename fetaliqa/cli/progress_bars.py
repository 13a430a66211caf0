"""Progress bars: of stages, and of cases and their frames."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def moves(bar: Any) -> Callable[[int, int | None], None]:
    """A callback (done, total) that updates a tqdm bar."""

    def progress(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return progress


class Bars:
    """Consecutive progress bars on standard error, one per stage."""

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
        """Print a line above the bars."""
        from tqdm import tqdm

        tqdm.write(sentence, file=sys.stderr)


class CaseBars:
    """A bar over the cases when there are several, and one over the frames of the current case.

    Args:
        cases: how many there are.
        quiet: show none.

    Attributes:
        done: cases that are finished.
    """

    def __init__(self, cases: int, *, quiet: bool) -> None:
        from tqdm import tqdm

        self.done = 0
        self._quiet = quiet or None
        self._tqdm = tqdm
        self._cases = self._bar(total=cases, desc="cases", unit="case") if cases > 1 else None
        self._frames: Any = None

    def _bar(self, **settings: Any) -> Any:
        return self._tqdm(disable=self._quiet, file=sys.stderr, leave=False, **settings)

    def __enter__(self) -> CaseBars:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in (self._frames, self._cases):
            if bar is not None:
                bar.close()

    def counted(self, finished: Iterable[T]) -> Iterator[T]:
        """Pass finished cases on as they come."""
        for case in finished:
            self.done += 1
            if self._cases is not None:
                self._cases.update()
            yield case

    def frames(self, name: str) -> Callable[[int, int | None], None]:
        """The progress callback of a case."""
        if self._frames is not None:
            self._frames.close()
        self._frames = self._bar(desc=name[:24], unit="frame")
        return moves(self._frames)

    def aside(self) -> Any:
        """A context in which text can be printed without breaking the bars."""
        return self._tqdm.external_write_mode(file=sys.stdout)

    def say(self, sentence: str) -> None:
        """A line above the bars, on standard error."""
        self._tqdm.write(sentence, file=sys.stderr)
