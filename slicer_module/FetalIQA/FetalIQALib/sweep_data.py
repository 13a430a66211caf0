"""Data of a case: frames, sweeps, and the model's assessment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from FetalIQALib.client_errors import InvalidResponse
from FetalIQALib.ellipse_measurement import Ellipse, Measurement
from FetalIQALib.frame_annotations import Proposal
from FetalIQALib.frame_masks import Mask
from FetalIQALib.image_files import FrameStack
from FetalIQALib.line_measurement import Line
from FetalIQALib.server_responses import SuggestedFrame
from FetalIQALib.translation import _

LINE_ANATOMY = "femur"
BLACK_LEVEL = 4  # frames without brighter pixels are padding at the end of a sweep


@dataclass(frozen=True)
class Assessment:
    """The model's assessment of a case.

    Attributes:
        quality: float [T], 0 to 1; nan where not assessed.
        estimated: bool [T], frames that were not assessed: their quality is interpolated between other frames.
        circumference_mm: float [T]; nan where there is none.
        ranges: (first, last + 1) frame of each sweep.
        best: the best frame; None if no frame is usable.
        reason: why there is no best frame.
        ranking: suggested frames, best first.
        proposals: masks by frame number.
        measured: the server's own measurement of them, by frame number.
        expected_dice: expected Dice of the model's outline by frame number; empty if the model has no estimate.
        out_of_distribution: numbers of frames that are unlike the training data.
        warning: on the best frame; empty for none.
        spacing_mm: of rows and columns; None if the file has none.
        measurement: abbreviation of what is measured, such as AC.
        anatomy: what is outlined.
    """

    quality: np.ndarray
    estimated: np.ndarray
    circumference_mm: np.ndarray
    ranges: tuple[tuple[int, int], ...]
    best: int | None
    reason: str
    ranking: tuple[int, ...]
    proposals: Mapping[int, Proposal]
    spacing_mm: tuple[float, float] | None
    model: str
    measured: Mapping[int, Measurement] = field(default_factory=dict)
    expected_dice: Mapping[int, float] = field(default_factory=dict)
    out_of_distribution: frozenset[int] = frozenset()
    warning: str = ""
    measurement: str = "AC"
    anatomy: str = "abdomen"

    @property
    def is_line(self) -> bool:
        """Whether the anatomy is measured as a line."""
        return self.anatomy == LINE_ANATOMY

    @property
    def complete(self) -> bool:
        """Whether all frames are assessed."""
        return not self.estimated.any()

    def assessed_quality(self, frame: int) -> float:
        """Quality of an assessed frame; nan for others."""
        return np.nan if self.estimated[frame] else float(self.quality[frame])

    def message(self) -> str:
        """Summary for the status line, with a warning for frames unlike the training data."""
        if self.best is None:
            message = self.reason or _("No usable frame found.")
            template = _("{message} {count} frames are unlike the training data.")
            return (
                template.format(message=message, count=len(self.out_of_distribution))
                if self.out_of_distribution
                else message
            )
        if self.best in self.out_of_distribution:
            return _("Best frame: {frame}, {warning}.").format(frame=self.best, warning=self.warning)
        return _("Best frame: {frame}.").format(frame=self.best)


def parse_assessment(record: Mapping[str, Any], masks: Mapping[int, Mask], count: int) -> Assessment:
    """Parse and check the server's assessment record (docs/assessment.md).

    Raises:
        InvalidResponse: if it does not match the case.
    """
    entries: list[dict[str, Any]] = [entry for entry in record["frames"] if isinstance(entry, dict)]
    if len(entries) != count or [entry.get("index") for entry in entries] != list(range(count)):
        raise InvalidResponse(
            _("The assessment has {actual} frames, the image has {count}; it is not shown.").format(
                actual=len(entries), count=count
            )
        )
    description = record.get("model")
    model = description if isinstance(description, dict) else {}
    name, version = str(model.get("name") or "model"), str(model.get("version") or "")
    best = record.get("best")
    return Assessment(
        quality=_numbers(entries, "quality"),
        estimated=np.array([entry.get("interpolated") is True for entry in entries], bool),
        circumference_mm=_sizes(entries),
        ranges=_ranges(record.get("sweeps"), count),
        best=best if _is_frame(best, count) else None,
        reason=str(record.get("reason") or ""),
        ranking=tuple(frame for frame in record.get("ranking") or () if _is_frame(frame, count)),
        proposals={frame: Proposal(mask, name, version) for frame, mask in masks.items()},
        spacing_mm=_spacing(record.get("spacing_mm")),
        model=f"{name} {version}".strip(),
        measured={frame: _measured(entries[frame]) for frame in masks},
        expected_dice={
            frame: float(value)
            for frame, value in enumerate(_numbers(entries, "expected_dice"))
            if not np.isnan(value)
        },
        out_of_distribution=frozenset(
            frame for frame, entry in enumerate(entries) if entry.get("unlike_training_data") is True
        ),
        warning=str(record.get("warning") or ""),
        measurement=str(model.get("measurement") or "AC"),
        anatomy=str(model.get("anatomy") or "abdomen"),
    )


def _sizes(entries: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Circumference or length of each frame, mm; nan where there is neither."""
    lengths = _numbers(entries, "length_mm")
    return np.where(np.isnan(lengths), _numbers(entries, "circumference_mm"), lengths)


def _measured(entry: Mapping[str, Any]) -> Measurement:
    ellipse = entry.get("ellipse")
    keys = ("center_x", "center_y", "semi_major", "semi_minor", "angle_deg")
    circumference_value, absent = entry.get("circumference_mm"), str(entry.get("circumference_absent") or "")
    line = entry.get("line")
    if "length_mm" in entry:
        circumference_value, absent = entry["length_mm"], str(entry.get("length_absent") or "")
    warning = str(entry.get("warning") or "")
    interval = _interval(entry.get("circumference_interval_mm"))
    circumference = float(circumference_value) if isinstance(circumference_value, (int, float)) else None
    corners = [line.get(key) for key in ("x1", "y1", "x2", "y2")] if isinstance(line, dict) else []
    ends = [float(value) for value in corners if isinstance(value, (int, float))]
    if len(ends) == 4:
        return Measurement(None, circumference, absent, warning, line=Line(*ends))
    values = [ellipse.get(key) for key in keys] if isinstance(ellipse, dict) else []
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    if len(numbers) != len(keys) or min(numbers[2:4]) <= 0:
        return Measurement(None, circumference, absent, warning, interval)
    x, y, a, b, degrees = numbers
    return Measurement(Ellipse(x, y, a, b, math.radians(degrees)), circumference, absent, warning, interval)


def _interval(value: Any) -> tuple[float, float] | None:
    """Two numbers, or None (servers of earlier versions send none)."""
    numbers = [float(one) for one in value if isinstance(one, (int, float))] if isinstance(value, list) else []
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _is_frame(value: Any, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


def _numbers(entries: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    values = [entry.get(key) for entry in entries]
    return np.array([value if isinstance(value, (int, float)) else np.nan for value in values], float)


def _ranges(sweeps: Any, count: int) -> tuple[tuple[int, int], ...]:
    ranges = []
    for sweep in sweeps if isinstance(sweeps, list) else ():
        if isinstance(sweep, dict) and isinstance(sweep.get("start"), int) and isinstance(sweep.get("stop"), int):
            ranges.append((sweep["start"], sweep["stop"]))
    expected = [0, *(stop for _start, stop in ranges)]
    if not ranges or [start for start, _stop in ranges] != expected[:-1] or expected[-1] != count:
        return ((0, count),)
    return tuple(ranges)


def _spacing(value: Any) -> tuple[float, float] | None:
    usable = (
        isinstance(value, list) and len(value) == 2 and all(isinstance(v, (int, float)) and v > 0 for v in value)
    )
    return (float(value[0]), float(value[1])) if usable else None


@dataclass(frozen=True)
class Sweep:
    """A case with its assessment.

    Attributes:
        case: its id.
        stack: its frames.
        padding: bool [T], black frames at the end of sweeps.
        measurable: bool [H, W], where outline points belong to the anatomy, not to the field of view.
        assessment: of the model; None until it is available.
        suggested: frames suggested by the active-learning strategy.
    """

    case: str
    stack: FrameStack
    padding: np.ndarray
    measurable: np.ndarray
    assessment: Assessment | None = None
    suggested: tuple[SuggestedFrame, ...] = field(default=())

    @property
    def count(self) -> int:
        """Number of frames, padding included."""
        return len(self.stack.frames)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.stack.frames.shape[1], self.stack.frames.shape[2])

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Row and column spacing; from the server's assessment if available."""
        return self.stack.spacing_mm if self.assessment is None else self.assessment.spacing_mm

    @property
    def anatomy(self) -> str:
        """What is outlined, or measured by a line."""
        return Assessment.anatomy if self.assessment is None else self.assessment.anatomy

    @property
    def is_line(self) -> bool:
        """Whether the anatomy is measured as a line."""
        return self.assessment is not None and self.assessment.is_line

    @property
    def measurement(self) -> str:
        """Abbreviation of what is measured: AC, HC or FL."""
        return Assessment.measurement if self.assessment is None else self.assessment.measurement

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """(first, last + 1) frame of each sweep; before the assessment, split at five or more black frames."""
        return self.assessment.ranges if self.assessment is not None else _ranges_of(self.padding)

    def sweep_of(self, frame: int) -> int:
        """Index of a frame's sweep."""
        return next(number for number, (start, stop) in enumerate(self.ranges) if start <= frame < stop)

    def proposal(self, frame: int) -> Proposal | None:
        """The model's mask of a frame."""
        return None if self.assessment is None else self.assessment.proposals.get(frame)

    def suggestions(self) -> tuple[int, ...]:
        """Suggested frames: of the strategy, else the model's ranking."""
        suggested = tuple(suggestion.frame for suggestion in self.suggested if suggestion.frame < self.count)
        return suggested or (() if self.assessment is None else self.assessment.ranking)

    def reason_for(self, frame: int) -> str:
        """Why the strategy suggests a frame; empty if it does not."""
        return next((suggestion.reason for suggestion in self.suggested if suggestion.frame == frame), "")


def find_padding(frames: np.ndarray) -> np.ndarray:
    """Which frames are black: bool [T]."""
    return frames.reshape(len(frames), -1).max(axis=1) <= BLACK_LEVEL


def _ranges_of(padding: np.ndarray) -> tuple[tuple[int, int], ...]:
    count, starts, run = len(padding), [0], 0
    for frame, black in enumerate(padding):
        if not black and run >= 5 and frame > run:
            starts.append(frame)
        run = run + 1 if black else 0
    return tuple(zip(starts, [*starts[1:], count]))
