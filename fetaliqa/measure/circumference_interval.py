"""Intervals around a measured circumference, calibrated by split-conformal prediction. Not for clinical use.

An interval is ``measured * (1 - q d)`` to ``measured * (1 + q d)``. The difficulty ``d`` is a fixed function of
the outline. ``q`` is a quantile of ``|reference - measured| / (measured d)`` over labelled cases that the model
was not trained on: locally weighted split-conformal prediction (Lei et al. 2018, arXiv 1604.04173). Of ``n`` such
cases it is the ``ceil((n + 1) coverage)``-th smallest, so that an interval holds the reference of another case
like them with a probability of at least ``coverage``, however the errors are distributed. One case gives one
number, since frames of a case are alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fetaliqa.measure.plausibility import LOW_QUALITY

COVERAGE = 0.9
# Difficulty of an outline, relative to its circumference. Chosen on HC18 heads that the head model was trained on
# (a non-negative fit of their errors), so that the images an interval is calibrated on are not needed for it.
FLOOR = 0.002
RESIDUAL_WEIGHT = 0.4
HIDDEN_WEIGHT = 0.05
MAX_BAND = 0.2  # of an outline's border; wider where the model is not sure that the frame shows the plane
LEAST_SHARE = 0.6  # of the border seen


@dataclass(frozen=True)
class Quantile:
    """A calibrated quantile, and what it was measured on.

    Attributes:
        value: ``q`` of the module's docstring.
        cases: how many cases it was measured on.
        data: the data set, who outlined it, and what it says nothing about.
    """

    value: float
    cases: int
    data: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value > 0 and self.cases > 0):
            raise ValueError(f"quantile {self.value} of {self.cases} cases; both must be positive")


@dataclass(frozen=True)
class Calibration:
    """Quantiles of a model.

    Attributes:
        coverage: share of cases whose reference an interval holds.
        still: of frames of cases of one frame; None where not calibrated.
        sweep_frame: of frames of sweeps.
        sweep_case: of the circumference of a case of sweeps.
    """

    coverage: float
    still: Quantile | None
    sweep_frame: Quantile | None
    sweep_case: Quantile | None

    def __post_init__(self) -> None:
        if not 0.5 <= self.coverage < 1:
            raise ValueError(f"coverage is {self.coverage}; 0.5 up to, not including, 1 is needed")

    def of_frames(self, single: bool) -> Quantile | None:
        """The quantile of frames: of the only frame of a case, or of frames of sweeps."""
        return self.still if single else self.sweep_frame

    def of_case(self, single: bool) -> Quantile | None:
        """The quantile of a case's circumference."""
        return self.still if single else self.sweep_case


def conformal_quantile(scores: Sequence[float], coverage: float = COVERAGE) -> float | None:
    """The split-conformal quantile of ``n`` scores, see the module's docstring; None where ``n`` is too small.

    Examples:
        >>> conformal_quantile([0.1, 0.4, 0.2, 0.3, 0.5, 0.6, 0.9, 0.7, 0.8])
        0.9
        >>> conformal_quantile([0.1, 0.2]) is None  # 9 cases are the least for a coverage of 0.9
        True
    """
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    return None if rank > len(scores) else float(sorted(scores)[rank - 1])


def difficulty(fields: Mapping[str, Any]) -> float:
    """Difficulty of a frame's outline, as a share of its circumference, positive.

    Args:
        fields: of the frame's record: ``border_band``, ``fit_residual``, ``fitted_share``.
    """
    hidden = 1 - float(fields["fitted_share"])
    return (
        FLOOR
        + float(fields["border_band"])
        + RESIDUAL_WEIGHT * float(fields["fit_residual"])
        + HIDDEN_WEIGHT * hidden
    )


def untrusted(fields: Mapping[str, Any]) -> str | None:
    """Why a frame's circumference gets no interval, in words; None where it gets one.

    Args:
        fields: of the frame's record.
    """
    if fields.get("unlike_training_data"):
        return "the frame is unlike the images that the model was trained on"
    if fields["quality"] < LOW_QUALITY:
        return f"the frame's quality of {fields['quality']:.2f} is below {LOW_QUALITY}"
    if fields["fitted_share"] < LEAST_SHARE:
        return f"only {fields['fitted_share']:.0%} of the border is in the field of view"
    if fields["border_band"] > MAX_BAND:
        return "the model is not sure of the border, or that the frame shows the plane"
    return None


def interval(value_mm: float, spread: float, quantile: Quantile) -> list[float]:
    """Lower and upper end in mm, rounded for the record.

    Args:
        value_mm: the circumference.
        spread: its difficulty, relative.
        quantile: from :class:`Calibration`.
    """
    half = min(1.0, quantile.value * spread)
    return [round(value_mm * (1 - half), 2), round(value_mm * (1 + half), 2)]
