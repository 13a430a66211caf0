"""Gestational ages that people gave for the cases of a studies folder, in one file of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fetaliqa.atomic import why_not_written, write_json
from fetaliqa.errors import GrowthError, LabelError, StorageError
from fetaliqa.measure.fetal_growth import DAYS_PER_WEEK, MAX_GIVEN_WEEKS, GestationalAge

FILE = "gestational-ages.json"
SCHEMA = 1
GIVEN = "given"  # source of such an age
LONGEST_DAYS = MAX_GIVEN_WEEKS * DAYS_PER_WEEK + DAYS_PER_WEEK - 1
LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class GivenAge:
    """The age of a case's fetus when it was scanned, known from elsewhere.

    Attributes:
        days: since the first day of the last menstrual period.
        user: who gave it; empty where nobody has a name.
        time: when, ISO 8601.
    """

    days: int
    user: str
    time: str

    @property
    def age(self) -> GestationalAge:
        """For growth charts."""
        return GestationalAge(self.days, GIVEN)


class GivenAges:
    """The ages of a folder, in a file that is replaced atomically.

    Args:
        folder: of the studies.
    """

    def __init__(self, folder: Path) -> None:
        self._path = Path(folder) / FILE

    def get(self, case: str) -> GivenAge | None:
        """The age of a case, or None.

        Raises:
            LabelError: when the file is damaged.
        """
        entry = self._read().get(case)
        return None if entry is None else _parsed(entry, self._path.name, case)

    def give(self, case: str, days: int | None, user: str = "") -> GivenAge | None:
        """Record the age of a case, or with None that it is not known any more.

        Args:
            case: its id.
            days: 7 to 321 (1 week to 45 weeks and 6 days).
            user: who says so.

        Raises:
            GrowthError: for other days.
            LabelError: when the file is damaged; it is left as it is.
            StorageError: when it cannot be written.
        """
        if days is not None and not DAYS_PER_WEEK <= days <= LONGEST_DAYS:
            raise GrowthError(
                f"a gestational age of {days} days is not between 1 week and {MAX_GIVEN_WEEKS} weeks 6 days"
            )
        with self._locked():
            ages = self._read()
            if days is None and case not in ages:
                return None
            ages.pop(case, None)
            given = None if days is None else GivenAge(days, user, datetime.now(UTC).isoformat(timespec="seconds"))
            if given is not None:
                ages[case] = asdict(given)
            write_json(self._path, {"schema": SCHEMA, "cases": dict(sorted(ages.items()))})
        return given

    def forget(self, case: str) -> None:
        """Drop the age of a case that is removed; a damaged file is left as it is."""
        with contextlib.suppress(LabelError):
            self.give(case, None)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with FileLock(str(self._path) + ".lock", timeout=LOCK_SECONDS):
                yield
        except Timeout:
            raise StorageError(f"{self._path.name} is locked by another program; try again") from None
        except OSError as problem:
            raise StorageError(f"{self._path.name}: {why_not_written(problem, 'try')}") from None

    def _read(self) -> dict[str, Any]:
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            cases = stored["cases"] if stored["schema"] == SCHEMA else None
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError):
            cases = None
        if not isinstance(cases, dict):
            raise LabelError(f"{self._path.name} is damaged; restore it from a backup, or remove it")
        return cases


def _parsed(entry: Any, file: str, case: str) -> GivenAge:
    try:
        return GivenAge(int(entry["days"]), str(entry["user"]), str(entry["time"]))
    except (KeyError, TypeError, ValueError):
        raise LabelError(f"{file}: the entry of {case!r} is damaged; give the age again") from None
