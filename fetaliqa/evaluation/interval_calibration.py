"""Calibrating the intervals of a model on labelled cases, and measuring how many of them hold the reference."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from fetaliqa.errors import OptionError
from fetaliqa.evaluation.interval_rows import IntervalRow
from fetaliqa.measure.case_measurement import case_spread, case_value, combined_frames
from fetaliqa.measure.circumference_interval import (
    COVERAGE,
    Calibration,
    Quantile,
    conformal_quantile,
    difficulty,
    untrusted,
)


@dataclass(frozen=True)
class Outcome:
    """A measured circumference, its reference and difficulty.

    Attributes:
        subject: the scanned subject; several of one subject are alike.
        error: |reference - measured| / measured.
        spread: difficulty, relative to the measured circumference.
    """

    subject: str
    error: float
    spread: float

    @property
    def score(self) -> float:
        """The error in units of the difficulty."""
        return self.error / self.spread


@dataclass(frozen=True)
class Coverage:
    """How many intervals hold the reference.

    Attributes:
        outcomes: number of circumferences with a reference and an interval.
        without: number of circumferences with a reference and no interval, as the outline is not trusted.
        held: number of intervals that hold the reference.
        half_width: mean of half the interval's width, as a share of the circumference.
        error: mean absolute error, as a share of the circumference.
    """

    outcomes: int
    without: int
    held: int
    half_width: float
    error: float

    @property
    def share(self) -> float:
        """Share of intervals that hold the reference."""
        return self.held / self.outcomes

    def bounds(self) -> tuple[float, float]:
        """95 % interval of the share, by Clopper and Pearson (1934)."""
        found = binomtest(self.held, self.outcomes).proportion_ci(0.95, "exact")
        return float(found.low), float(found.high)


Collect = Callable[[IntervalRow], "tuple[list[Outcome], int]"]


def frame_outcomes(row: IntervalRow) -> tuple[list[Outcome], int]:
    """One frame of a case, chosen by a hash of its name among those with a reference that are trusted.

    Returns:
        At most one outcome; and 1 where the case has frames with a reference, and none is trusted.
    """
    known = {number: values for number, values in row.frames.items() if values["reference"] is not None}
    trusted = [number for number, values in known.items() if untrusted(values) is None]
    if not trusted:
        return [], int(bool(known))
    draw = int(hashlib.sha256(f"frame|{row.case_id}".encode()).hexdigest()[:8], 16)
    values = known[sorted(trusted)[draw % len(trusted)]]
    error = abs(values["reference"] / values["measured"] - 1)
    return [Outcome(row.subject_id, error, difficulty(values))], 0


def case_outcomes(row: IntervalRow) -> tuple[list[Outcome], int]:
    """The circumference of a case, against the median of its sweeps' reference values.

    Returns:
        At most one outcome; and 1 where the case has a reference and a circumference, and it is not trusted.
    """
    references = [value for value in row.sweep_references if value is not None]
    frames = case_frames(row)
    if not references or not frames:
        return [], 0
    if all(untrusted(row.frames[frame]) for frame in frames):
        return [], 1
    error = abs(float(np.median(references)) / case_value(row.frames, frames) - 1)
    return [Outcome(row.subject_id, error, case_spread(row.frames, frames))], 0


def case_frames(row: IntervalRow) -> tuple[int, ...]:
    """Frames that the case's circumference is taken from."""
    quality = np.array([np.nan if value is None else value for value in row.quality], float)
    positive = np.zeros(len(quality), bool)
    positive[list(row.frames)] = True
    return combined_frames(row.frames, quality, positive, row.ranges)


def outcomes_of(rows: Iterable[IntervalRow], collect: Collect) -> tuple[list[Outcome], int]:
    """Outcomes of all rows, and how many circumferences have no interval."""
    outcomes, without = [], 0
    for row in rows:
        found, missing = collect(row)
        outcomes += found
        without += missing
    return outcomes, without


def quantile_of(outcomes: Sequence[Outcome], data: str, coverage: float = COVERAGE) -> Quantile | None:
    """The quantile of one outcome of each subject, the first one; None where there are too few subjects.

    Args:
        outcomes: of cases that the model was not trained on.
        data: what they are.
        coverage: 0.5 up to 1.
    """
    by_subject = {outcome.subject: outcome.score for outcome in reversed(outcomes)}
    value = conformal_quantile(list(by_subject.values()), coverage)
    return None if value is None else Quantile(round(value, 4), len(by_subject), data)


def coverage_of(outcomes: Sequence[Outcome], without: int, quantile: Quantile) -> Coverage:
    """Coverage of outcomes that the quantile was not measured on."""
    return coverage_with(outcomes, without, [quantile.value] * len(outcomes))


def coverage_with(outcomes: Sequence[Outcome], without: int, quantiles: Sequence[float]) -> Coverage:
    """Coverage with a quantile of its own for each outcome."""
    halves = [quantile * one.spread for quantile, one in zip(quantiles, outcomes)]
    held = sum(one.error <= half for half, one in zip(halves, outcomes))
    errors = [one.error for one in outcomes]
    return Coverage(len(outcomes), without, held, float(np.mean(halves)), float(np.mean(errors)))


def calibrate(rows: Sequence[IntervalRow], data: str, coverage: float = COVERAGE) -> Calibration:
    """Calibrate a model on labelled cases that it was not trained on.

    Args:
        rows: cases of one frame, of sweeps, or both.
        data: what they are, and who outlined them.
        coverage: 0.5 up to 1.

    Raises:
        OptionError: when neither kind has enough cases.
    """
    single = [row for row in rows if len(row.quality) == 1]
    sweeps = [row for row in rows if len(row.quality) > 1]
    kinds: Mapping[str, tuple[Sequence[IntervalRow], Collect]] = {
        "still": (single, frame_outcomes),
        "sweep_frame": (sweeps, frame_outcomes),
        "sweep_case": (sweeps, case_outcomes),
    }
    quantiles: dict[str, Any] = {}
    found: dict[str, int] = {}
    for name, (chosen, collect) in kinds.items():
        outcomes, _ = outcomes_of(chosen, collect)
        found[name] = len({one.subject for one in outcomes})
        quantiles[name] = quantile_of(outcomes, data, coverage)
    if all(value is None for value in quantiles.values()):
        counted = ", ".join(f"{count} for {name.replace('_', ' ')}" for name, count in found.items())
        raise OptionError(
            f"too few subjects with a reference and a trusted circumference ({counted}); a coverage of "
            f"{coverage:g} needs {least_subjects(coverage)} of one kind"
        )
    return Calibration(coverage, **quantiles)


def least_subjects(coverage: float) -> int:
    """The least number of subjects for a quantile.

    Examples:
        >>> least_subjects(0.9)
        9
    """
    return next(count for count in range(1, 1000) if conformal_quantile([1.0] * count, coverage) is not None)
