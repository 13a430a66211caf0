"""Who is working on which case, for a while: two raters are not handed the same case."""

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
    """A case in somebody's hands.

    Attributes:
        case: its id.
        rater: who has it.
        until: when it is free again, seconds since 1970.
    """

    case: str
    rater: str
    until: float


class Leases:
    """The leases of a studies folder, in one file that is replaced whole.

    A lease is a courtesy, not a lock: labels are kept apart and checked for conflicts whoever saves them. So a
    file that is damaged counts as empty, and one that cannot be written stops nobody.

    Args:
        folder: of the studies.
        clock: gives seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(folder) / FILE
        self._clock = clock

    def active(self) -> dict[str, Lease]:
        """Leases that have not run out, by case."""
        now = self._clock()
        return {lease.case: lease for lease in self._read() if lease.until > now}

    def of_others(self, rater: str) -> set[str]:
        """Cases that other raters have."""
        return {case for case, lease in self.active().items() if lease.rater != rater}

    def take(self, case: str, rater: str, minutes: float = MINUTES) -> Lease | None:
        """Hand a case to a rater, in place of the one they had; None when another has it."""
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
        """Free what a rater has."""
        with self._lock():
            self._write([one for one in self.active().values() if one.rater != rater])

    def _write(self, leases: list[Lease]) -> None:
        try:
            write_json(self._path, [vars(one) for one in leases])
        except OSError as problem:  # a full disk must not keep people from labelling
            logger.warning(
                "%s cannot be written (%s); others may be handed the case too", self._path.name, problem
            )

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        lock = FileLock(str(self._path) + ".lock", timeout=LOCK_SECONDS)
        try:
            lock.acquire()
        except OSError as problem:  # Timeout is one
            logger.warning("%s cannot be locked (%s); others may be handed the case too", self._path.name, problem)
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
            logger.warning("%s is damaged (%s); all cases count as free", self._path.name, problem)
            return []
