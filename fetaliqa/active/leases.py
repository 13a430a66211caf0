"""Leases of cases: for some minutes, a case offered to one rater is not offered to another."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from fetaliqa.atomic import write_json

FILE = "leases.json"  # in a folder of studies
MINUTES = 30.0
LOCK_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lease:
    """A case leased to a rater.

    Attributes:
        case: its id.
        rater: who has it.
        until: when the lease ends, seconds since 1970.
    """

    case: str
    rater: str
    until: float


class Leases:
    """The leases of a studies folder, in one file that is replaced atomically.

    A lease is advisory, not a lock: labels are stored by rater, and conflicts are detected on saving. So a damaged
    file counts as empty, and a file that cannot be written does not stop labelling.

    Args:
        folder: of the studies.
        clock: gives seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(folder) / FILE
        self._clock = clock

    def active(self) -> dict[str, Lease]:
        """Leases that have not expired, by case."""
        now = self._clock()
        return {lease.case: lease for lease in self._read() if lease.until > now}

    def of_others(self, rater: str) -> set[str]:
        """Cases leased to other raters."""
        return {case for case, lease in self.active().items() if lease.rater != rater}

    def take(self, case: str, rater: str, minutes: float = MINUTES) -> Lease | None:
        """Lease a case to a rater in place of their previous one; None when another rater has it."""
        with self._lock():
            active = self.active()
            held = active.get(case)
            if held is not None and held.rater != rater:
                return None
            lease = Lease(case, rater, self._clock() + 60 * minutes)
            others = [other for other in active.values() if other.rater != rater]
            self._write([*others, lease])
        return lease

    def release(self, rater: str) -> None:
        """End a rater's lease."""
        with self._lock():
            self._write([one for one in self.active().values() if one.rater != rater])

    def _write(self, leases: list[Lease]) -> None:
        try:
            write_json(self._path, [vars(one) for one in leases])
        except OSError as problem:  # a full disk must not stop labelling
            logger.warning(
                "%s cannot be written (%s); the case may be offered to others too", self._path.name, problem
            )

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        lock = FileLock(str(self._path) + ".lock", timeout=LOCK_SECONDS)
        try:
            lock.acquire()
        except OSError as problem:  # Timeout is one
            logger.warning(
                "%s cannot be locked (%s); the case may be offered to others too", self._path.name, problem
            )
        try:
            yield
        finally:
            lock.release()

    def _read(self) -> list[Lease]:
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            return [Lease(str(one["case"]), str(one["rater"]), float(one["until"])) for one in stored]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as problem:
            logger.warning("%s is damaged (%s); all leases are dropped", self._path.name, problem)
            return []
