"""The annotator's own counts: submitted cases, labelled frames and time by day, on this computer only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Callable

from FetalIQALib.journal import write_atomically
from FetalIQALib.translation import _

FILE = "counts.json"
MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class Counts:
    """Submitted cases, their labelled frames, skipped cases, and seconds of work on them."""

    cases: int = 0
    frames: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def plus(self, other: Counts) -> Counts:
        """The sum."""
        return Counts(
            self.cases + other.cases,
            self.frames + other.frames,
            self.skipped + other.skipped,
            self.seconds + other.seconds,
        )


class WorkCounts:
    """Counts by rater and day.

    A case that is submitted again counts once a day, with the frames and the time of its last submission.

    Args:
        folder: of unsubmitted work on this computer.
        today: the current day.
    """

    def __init__(self, folder: Path, today: Callable[[], date] = date.today) -> None:
        self._file = folder / FILE
        self._today = today
        self._days: dict[str, dict[str, Counts]] = _read(self._file)
        self._cases: dict[tuple[str, str, str], Counts] = {}

    def add(self, rater: str, case: str, frames: int, seconds: float, skipped: bool) -> None:
        """Count a submission; what cannot be saved on the disk is counted until the end of the session."""
        day = self._today().isoformat()
        key = (rater, day, case)
        now = Counts(0, 0, 1, seconds) if skipped else Counts(1, frames, 0, seconds)
        before = self._cases.get(key, Counts())
        self._cases[key] = now
        days = self._days.setdefault(rater, {})
        minus = Counts(-before.cases, -before.frames, -before.skipped, -before.seconds)
        days[day] = days.get(day, Counts()).plus(minus).plus(now)
        with suppress(OSError):
            content = {
                name: {one: asdict(counts) for one, counts in own.items()} for name, own in self._days.items()
            }
            write_atomically(self._file, json.dumps(content).encode("utf-8"))

    def of_day(self, rater: str) -> Counts:
        """Counts of a rater today."""
        return self._days.get(rater, {}).get(self._today().isoformat(), Counts())

    def of_all(self, rater: str) -> Counts:
        """Counts of a rater on all days."""
        total = Counts()
        for counts in self._days.get(rater, {}).values():
            total = total.plus(counts)
        return total

    def line(self, rater: str) -> str:
        """Today's counts and the total, for the panel."""
        today, total = self.of_day(rater), self.of_all(rater)
        text = _("Today: {cases} cases, {frames} frames, {skipped} skipped").format(
            cases=today.cases, frames=today.frames, skipped=today.skipped
        )
        if today.cases:
            text += ", " + _("{time} per case").format(
                time=duration(today.seconds / (today.cases + today.skipped))
            )
        return f"{text}. " + _("In total: {cases} cases, {frames} frames.").format(
            cases=total.cases, frames=total.frames
        )


def duration(seconds: float) -> str:
    """A time as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _read(file: Path) -> dict[str, dict[str, Counts]]:
    """The saved counts; none if the file cannot be used."""
    try:
        if file.stat().st_size > MAX_BYTES:
            return {}
        content = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(rater): {str(day): _counts(values) for day, values in days.items()}
            for rater, days in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return {}


def _counts(values: Mapping[str, float]) -> Counts:
    cases, frames, skipped = (int(values[name]) for name in ("cases", "frames", "skipped"))
    return Counts(cases, frames, skipped, float(values["seconds"]))
