"""The measurement of a case: several good frames combined robustly. Not for clinical use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.circumference_interval import Calibration, difficulty, interval, untrusted
from fetaliqa.measure.frame_ranking import rank_frames
from fetaliqa.measure.frame_size import recorded_mm
from fetaliqa.measure.head_axes import BPD, OFD
from fetaliqa.measure.plausibility import COMPARED_FRAMES, LOW_QUALITY, MOST_DIFFERENCE

QUALITY_DROP = 0.05  # chosen on nine phantom cases that no figure is measured on (seeds 94000 to 94008)
NOT_OF_THIS_KIND = "the model's intervals are not calibrated for {}"
NOT_OF_LENGTHS = "there are intervals of circumferences only, not of lengths"


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """Median of values in any unit, each counted by its positive weight.

    Examples:
        >>> weighted_median([200.0, 210.0, 250.0], [1.0, 1.0, 1.0])
        210.0
        >>> weighted_median([200.0, 210.0], [1.0, 1.0])
        205.0
    """
    order = np.argsort(values, kind="stable")
    ordered, share = np.asarray(values, float)[order], np.cumsum(np.asarray(weights, float)[order])
    half = share[-1] / 2
    low = int(np.searchsorted(share, half * (1 - 1e-9)))
    high = int(np.searchsorted(share, half * (1 + 1e-9)))
    return float((ordered[low] + ordered[high]) / 2)


def combined_frames(
    fields: Mapping[int, Mapping[str, Any]],
    quality: np.ndarray,
    positive: np.ndarray,
    ranges: Sequence[tuple[int, int]],
) -> tuple[int, ...]:
    """Frames that a case's circumference or length is taken from, best first.

    The best frames with one, at most five, at least 15 frames apart within a sweep, whose quality is
    at most 0.05 below the best one's: planes beside the right one have a lower quality and another circumference.
    Frames unlike the training data and frames of a quality below 0.75 count only when there are no others, and
    then only the best one. Frames that differ by more than 20 % from the weighted median of all are left out.

    Args:
        fields: fields of each assessed frame, by frame number.
        quality, positive: of all frames, see ``rank_frames``.
        ranges: half-open frame range of each sweep.
    """
    measured, unlike = np.zeros((2, len(quality)), bool)
    for frame, values in fields.items():
        measured[frame] = recorded_mm(values) is not None
        unlike[frame] = bool(values.get("unlike_training_data"))
    ranked = rank_frames(quality, positive & measured, ranges, top_n=COMPARED_FRAMES, unlike=unlike).frames
    good = [frame for frame in ranked if quality[frame] >= LOW_QUALITY and not unlike[frame]]
    if not good:
        return tuple(ranked[:1])
    least = max(quality[frame] for frame in good) - QUALITY_DROP
    good = [frame for frame in good if quality[frame] >= least]
    middle = case_value(fields, good)
    agreeing = [frame for frame in good if abs(_mm(fields, frame) - middle) <= MOST_DIFFERENCE * middle]
    return tuple(agreeing or good[:1])


def add_intervals(fields: Mapping[int, dict[str, Any]], calibration: Calibration | None, single: bool) -> None:
    """Set ``circumference_interval_mm`` of all frames with a circumference that can be trusted.

    Args:
        fields: fields of each assessed frame, changed in place.
        calibration: of the model, or None.
        single: whether the case has one frame.
    """
    quantile = None if calibration is None else calibration.of_frames(single)
    if quantile is None:
        return
    for values in fields.values():
        if values.get("circumference_mm") is not None and untrusted(values) is None:
            around = interval(float(values["circumference_mm"]), difficulty(values), quantile)
            values["circumference_interval_mm"] = around


def case_measurement(
    fields: Mapping[int, Mapping[str, Any]],
    frames: Sequence[int],
    anatomy: Anatomy,
    intervals: tuple[Calibration | None, str | None],
    single: bool,
) -> dict[str, Any] | None:
    """The case's circumference or length as JSON values (``measurement`` in docs/assessment.md); None without one.

    Args:
        fields: fields of each assessed frame, by frame number.
        frames: from :func:`combined_frames`.
        anatomy: what is measured.
        intervals: the model's calibration, and why there is none.
        single: whether the case has one frame.
    """
    if not frames:
        return None
    value = case_value(fields, frames)
    calibration, absent = intervals
    quantile = None if calibration is None else calibration.of_case(single)
    if anatomy.is_line:
        absent = NOT_OF_LENGTHS
    elif absent is None:
        absent = NOT_OF_THIS_KIND.format("a single image" if single else "sweeps") if quantile is None else None
    absent = absent or _untrusted_case(fields, frames, value, anatomy)
    trusted = quantile is not None and absent is None
    return {
        "name": anatomy.measurement,
        "mm": round(value, 2),
        "interval_mm": interval(value, case_spread(fields, frames), quantile) if trusted and quantile else None,
        "coverage": calibration.coverage if trusted and calibration else None,
        "frames": list(frames),
        "interval_absent": absent,
        "calibrated_on": quantile.data if trusted and quantile else None,
        **_axes(fields, frames),
    }


def _axes(fields: Mapping[int, Mapping[str, Any]], frames: Sequence[int]) -> dict[str, float]:
    """Median BPD and OFD of the frames, weighted by their quality; nothing of other anatomies than the head."""
    weights = [float(fields[frame]["quality"]) for frame in frames]
    known = [name for name in (BPD, OFD) if all(fields[frame].get(name) is not None for frame in frames)]
    return {name: round(weighted_median([fields[frame][name] for frame in frames], weights), 2) for name in known}


def case_value(fields: Mapping[int, Mapping[str, Any]], frames: Sequence[int]) -> float:
    """Median of the frames' circumferences or lengths in mm, weighted by their quality."""
    weights = [float(fields[frame]["quality"]) for frame in frames]
    return weighted_median([_mm(fields, frame) for frame in frames], weights)


def case_spread(fields: Mapping[int, Mapping[str, Any]], frames: Sequence[int]) -> float:
    """Difficulty of a case, relative to its circumference: of its frames' outlines, and of their disagreement."""
    of_outlines = float(np.median([difficulty(fields[frame]) for frame in frames]))
    value = case_value(fields, frames)
    apart = float(np.mean([abs(_mm(fields, frame) / value - 1) for frame in frames]))
    return of_outlines + apart


def _untrusted_case(
    fields: Mapping[int, Mapping[str, Any]], frames: Sequence[int], value: float, anatomy: Anatomy
) -> str | None:
    low, high = anatomy.plausible_mm
    if not low <= value <= high:
        return f"{anatomy.measurement} {value:.0f} mm is outside of the plausible {low:.0f} to {high:.0f} mm"
    reasons = [untrusted(fields[frame]) for frame in frames]
    return reasons[0] if all(reasons) else None


def _mm(fields: Mapping[int, Mapping[str, Any]], frame: int) -> float:
    size = recorded_mm(fields[frame])
    if size is None:
        raise ValueError(f"frame {frame} has no circumference or length")
    return size
