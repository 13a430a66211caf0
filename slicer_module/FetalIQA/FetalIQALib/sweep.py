"""A case as it was received: frames, sweeps, what the model says of each frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from FetalIQALib.decisions import Proposal
from FetalIQALib.failures import BadReply
from FetalIQALib.images import Stack
from FetalIQALib.masks import Mask
from FetalIQALib.outline import Ellipse, Measurement
from FetalIQALib.replies import SuggestedFrame
from FetalIQALib.texts import _

BLACK_LEVEL = 4  # a slot none of whose pixels is brighter is padding at the end of a sweep


@dataclass(frozen=True)
class Assessment:
    """What the model says of a case.

    Attributes:
        quality: float [T], 0 to 1; nan where not assessed.
        guessed: bool [T], where the model has not looked: the quality lies between those of other frames.
        circumference_mm: float [T]; nan where there is none.
        ranges: (first, last + 1) frame of each sweep.
        best: the best frame; None when no frame is usable.
        reason: why there is none.
        ranking: the frames to look at first, the best one first.
        proposals: masks by frame number.
        measured: the server's own measurement of them, by frame number.
        expected_dice: Dice that the model expects its outline to have, by frame number; empty of a model that does
            not say.
        unlike: numbers of the frames that are unlike what the model learnt from.
        warning: what speaks against the best frame; empty for nothing.
        spacing_mm: of rows and columns; None when the file has none.
    """

    quality: np.ndarray
    guessed: np.ndarray
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
    unlike: frozenset[int] = frozenset()
    warning: str = ""

    @property
    def whole(self) -> bool:
        """Whether the model has looked at every frame."""
        return not self.guessed.any()

    def seen_quality(self, frame: int) -> float:
        """Quality of a frame that the model has looked at; nan of others."""
        return np.nan if self.guessed[frame] else float(self.quality[frame])

    def sentence(self) -> str:
        """What was found; a best frame that is unlike the training data is not told without saying so."""
        if self.best is None:
            told = self.reason or _("The model finds no usable frame.")
            unlike = _("{told} {count} frames are unlike what it learnt from.")
            return unlike.format(told=told, count=len(self.unlike)) if self.unlike else told
        if self.best in self.unlike:
            return _("Best frame: {frame}, {warning}.").format(frame=self.best, warning=self.warning)
        return _("Best frame: {frame}.").format(frame=self.best)


def assessment_of(told: Mapping[str, Any], masks: Mapping[int, Mask], count: int) -> Assessment:
    """The server's assessment record (docs/assessment.md), checked.

    Raises:
        BadReply: when it does not fit the case.
    """
    entries: list[dict[str, Any]] = [entry for entry in told["frames"] if isinstance(entry, dict)]
    if len(entries) != count or [entry.get("index") for entry in entries] != list(range(count)):
        raise BadReply(
            _("The assessment has {told} frames, the image has {count}; nothing of it is shown.").format(
                told=len(entries), count=count
            )
        )
    described = told.get("model")
    model = described if isinstance(described, dict) else {}
    name, version = str(model.get("name") or "model"), str(model.get("version") or "")
    best = told.get("best")
    return Assessment(
        quality=_numbers(entries, "quality"),
        guessed=np.array([entry.get("interpolated") is True for entry in entries], bool),
        circumference_mm=_numbers(entries, "circumference_mm"),
        ranges=_ranges(told.get("sweeps"), count),
        best=best if _is_frame(best, count) else None,
        reason=str(told.get("reason") or ""),
        ranking=tuple(frame for frame in told.get("ranking") or () if _is_frame(frame, count)),
        proposals={frame: Proposal(mask, name, version) for frame, mask in masks.items()},
        spacing_mm=_spacing(told.get("spacing_mm")),
        model=f"{name} {version}".strip(),
        measured={frame: _measured(entries[frame]) for frame in masks},
        expected_dice={
            frame: float(value)
            for frame, value in enumerate(_numbers(entries, "expected_dice"))
            if not np.isnan(value)
        },
        unlike=frozenset(
            frame for frame, entry in enumerate(entries) if entry.get("unlike_training_data") is True
        ),
        warning=str(told.get("warning") or ""),
    )


def _measured(entry: Mapping[str, Any]) -> Measurement:
    told = entry.get("ellipse")
    keys = ("center_x", "center_y", "semi_major", "semi_minor", "angle_deg")
    length, absent = entry.get("circumference_mm"), str(entry.get("circumference_absent") or "")
    warning = str(entry.get("warning") or "")
    circumference = float(length) if isinstance(length, (int, float)) else None
    values = [told.get(key) for key in keys] if isinstance(told, dict) else []
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    if len(numbers) != len(keys) or min(numbers[2:4]) <= 0:
        return Measurement(None, circumference, absent, warning)
    x, y, a, b, degrees = numbers
    return Measurement(Ellipse(x, y, a, b, math.radians(degrees)), circumference, absent, warning)


def _is_frame(value: Any, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


def _numbers(entries: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    values = [entry.get(key) for entry in entries]
    return np.array([value if isinstance(value, (int, float)) else np.nan for value in values], float)


def _ranges(sweeps: Any, count: int) -> tuple[tuple[int, int], ...]:
    found = []
    for sweep in sweeps if isinstance(sweeps, list) else ():
        if isinstance(sweep, dict) and isinstance(sweep.get("start"), int) and isinstance(sweep.get("stop"), int):
            found.append((sweep["start"], sweep["stop"]))
    expected = [0, *(stop for _start, stop in found)]
    if not found or [start for start, _stop in found] != expected[:-1] or expected[-1] != count:
        return ((0, count),)
    return tuple(found)


def _spacing(told: Any) -> tuple[float, float] | None:
    usable = isinstance(told, list) and len(told) == 2 and all(isinstance(v, (int, float)) and v > 0 for v in told)
    return (float(told[0]), float(told[1])) if usable else None


@dataclass(frozen=True)
class Sweep:
    """A case with what was found in it so far.

    Attributes:
        case: its id.
        stack: its frames.
        padding: bool [T], black slots, which are no frames.
        free: bool [H, W], where an outline is the anatomy's own and not the field of view's border.
        assessment: of the model; None until it arrives.
        suggested: frames that the active-learning strategy wants.
    """

    case: str
    stack: Stack
    padding: np.ndarray
    free: np.ndarray
    assessment: Assessment | None = None
    suggested: tuple[SuggestedFrame, ...] = field(default=())

    @property
    def count(self) -> int:
        """Frame slots."""
        return len(self.stack.frames)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.stack.frames.shape[1], self.stack.frames.shape[2])

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Row and column spacing; the server's word counts once it is there."""
        return self.stack.spacing_mm if self.assessment is None else self.assessment.spacing_mm

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The sweeps: as assessed; before that, ends of runs of five black slots or more."""
        return self.assessment.ranges if self.assessment is not None else _ranges_of(self.padding)

    def sweep_of(self, frame: int) -> int:
        """Number of a frame's sweep, from 0."""
        return next(number for number, (start, stop) in enumerate(self.ranges) if start <= frame < stop)

    def proposal(self, frame: int) -> Proposal | None:
        """The model's mask of a frame."""
        return None if self.assessment is None else self.assessment.proposals.get(frame)

    def suggestions(self) -> tuple[int, ...]:
        """Frames to look at: the strategy's, else the model's ranking."""
        asked = tuple(wanted.frame for wanted in self.suggested if wanted.frame < self.count)
        return asked or (() if self.assessment is None else self.assessment.ranking)

    def reason_for(self, frame: int) -> str:
        """Why the strategy wants a frame; empty when it does not."""
        return next((wanted.reason for wanted in self.suggested if wanted.frame == frame), "")


def padding_of(frames: np.ndarray) -> np.ndarray:
    """Which slots are black: bool [T]."""
    return frames.reshape(len(frames), -1).max(axis=1) <= BLACK_LEVEL


def _ranges_of(padding: np.ndarray) -> tuple[tuple[int, int], ...]:
    count, starts, run = len(padding), [0], 0
    for frame, black in enumerate(padding):
        if not black and run >= 5 and frame > run:
            starts.append(frame)
        run = run + 1 if black else 0
    return tuple(zip(starts, [*starts[1:], count]))
