"""The selection of frames to export: conditions shared by all formats, the command line and the server.

All conditions must hold. Where a number of frames is given, the best of the remaining frames are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from fetaliqa.errors import OptionError
from fetaliqa.labels.frame_record import MAX_SECONDS, STATES
from fetaliqa.measure.frame_ranking import MIN_GAP

CONFIRMED = ("annotated", "empty")  # states set by a person
PROPOSED = "proposed"
UNGRADED = "ungraded"
GRADES = ("optimal", "suboptimal", UNGRADED)
UNITS = ("case", "sweep")
MAX_TOP = 100_000
MAX_NAMES = 100_000


@dataclass(frozen=True)
class Selection:
    """Conditions on frames.

    Attributes:
        states: ``annotated`` and ``empty`` are confirmed by a person; ``proposed`` is a prediction.
        planes: ``optimal``, ``suboptimal``, ``ungraded``; None for all, frames without an outline included.
        min_quality: least quality score in [0, 1]; frames without a score are left out.
        top: how many frames to take of each ``per``, best quality first; None for all.
        per: ``case`` or ``sweep``.
        gap: frames between two that ``top`` takes of one sweep, at least.
        raters: names in the frame record; None for all.
        since, until: time of the label, ISO 8601; a date without time counts to its end. Without zone: UTC.
        cases: names of the cases; None for all.

    Raises:
        OptionError: naming the condition at fault.
    """

    states: tuple[str, ...] = CONFIRMED
    planes: tuple[str, ...] | None = None
    min_quality: float | None = None
    top: int | None = None
    per: str = "case"
    gap: int = MIN_GAP
    raters: tuple[str, ...] | None = None
    since: str | None = None
    until: str | None = None
    cases: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _among("states", self.states, STATES)
        if self.planes is not None:
            _among("planes", self.planes, GRADES)
        if self.min_quality is not None and not (_is_number(self.min_quality) and 0 <= self.min_quality <= 1):
            raise OptionError(f"min_quality is {self.min_quality!r}; it must be a number from 0 to 1")
        for name, value in (("top", self.top), ("gap", self.gap)):
            if value is not None and not (type(value) is int and 1 <= value <= MAX_TOP):
                raise OptionError(f"{name} is {value!r}; it must be a whole number from 1 to {MAX_TOP}")
        if self.gap is None:
            raise OptionError(f"gap is null; it must be a whole number from 1 to {MAX_TOP}")
        if self.per not in UNITS:
            raise OptionError(f"per is {self.per!r}; it must be one of {', '.join(UNITS)}")
        if self.since and self.until and _moment("since", self.since) > _moment("until", self.until, end=True):
            raise OptionError(f"since {self.since} is after until {self.until}; swap them")
        for name in ("since", "until"):
            if getattr(self, name) is not None:
                _moment(name, getattr(self, name))

    @classmethod
    def from_json(cls, given: Any) -> Selection:
        """Read conditions from a JSON object; what is left out or null does not limit.

        Raises:
            OptionError: for another key or value.
        """
        if not isinstance(given, Mapping):
            raise OptionError(f"a selection is a JSON object of conditions, not {type(given).__name__}")
        field_names = {one.name for one in fields(cls)}
        unknown = sorted(set(map(str, given)) - field_names)
        if unknown:
            raise OptionError(f"unknown condition {unknown[0][:80]!r}; known are {', '.join(sorted(field_names))}")
        lists = ("states", "planes", "raters", "cases")
        values: dict[str, Any] = {
            key: _names(key, value) if key in lists else value for key, value in given.items()
        }
        return cls(**{key: value for key, value in values.items() if value is not None})

    def to_json(self) -> dict[str, Any]:
        """The conditions as JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @property
    def needs_quality(self) -> bool:
        """Whether frames must have a quality score."""
        return self.min_quality is not None or self.top is not None

    @property
    def takes_proposals(self) -> bool:
        """Whether unconfirmed predictions are selected."""
        return PROPOSED in self.states

    def takes_case(self, case_id: str) -> bool:
        """Whether a case may have frames for this selection."""
        return self.cases is None or case_id in self.cases

    def takes_time(self, time: str | float | None) -> bool:
        """Whether a label's time lies between ``since`` and ``until``; without a time, only if neither is set."""
        if self.since is None and self.until is None:
            return True
        if time is None or (isinstance(time, int | float) and time > MAX_SECONDS):
            return False
        moment = datetime.fromtimestamp(time, UTC) if isinstance(time, int | float) else _moment("time", time)
        if self.since is not None and moment < _moment("since", self.since):
            return False
        return self.until is None or moment <= _moment("until", self.until, end=True)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _among(name: str, values: Any, known: tuple[str, ...]) -> None:
    wrong = [value for value in values if value not in known]
    if wrong or not values:
        what = repr(wrong[0]) if wrong else "an empty list"
        raise OptionError(f"{name}: {what}; choose among {', '.join(known)}")


def _names(key: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise OptionError(f"{key}: a list of names is needed")
    if not 1 <= len(value) <= MAX_NAMES:
        raise OptionError(f"{key}: {len(value)} names; 1 to {MAX_NAMES} can be given, or none to take all")
    return tuple(sorted(set(value)))


def _moment(name: str, text: Any, *, end: bool = False) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise OptionError(f"{name} is {str(text)[:40]!r}; a date such as 2026-01-31 is needed") from None
    if end and len(text) <= len("2026-01-31"):
        moment += timedelta(days=1) - timedelta(microseconds=1)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
