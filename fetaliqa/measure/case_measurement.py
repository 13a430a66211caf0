"""The measurement of a case: several good frames combined robustly. Not for clinical use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.frame_ranking import rank_frames
from fetaliqa.measure.plausibility import COMPARED_FRAMES, LOW_QUALITY, MOST_DIFFERENCE


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
    """Frames that a case's circumference is taken from, best first.

    The best frames with a circumference, at most five, at least 15 frames apart within a sweep. Frames unlike the
    training data and frames of a quality below 0.75 count only when there are no others, and then only the best
    one. Frames that differ by more than 20 % from the weighted median of all are left out.

    Args:
        fields: fields of each assessed frame, by frame number.
        quality, positive: of all frames, see ``rank_frames``.
        ranges: half-open frame range of each sweep.
    """
    measured, unlike = np.zeros((2, len(quality)), bool)
    for frame, values in fields.items():
        measured[frame] = values.get("circumference_mm") is not None
        unlike[frame] = bool(values.get("unlike_training_data"))
    ranked = rank_frames(quality, positive & measured, ranges, top_n=COMPARED_FRAMES, unlike=unlike).frames
    good = [frame for frame in ranked if quality[frame] >= LOW_QUALITY and not unlike[frame]]
    if not good:
        return tuple(ranked[:1])
    middle = _value(fields, good)
    agreeing = [frame for frame in good if abs(_mm(fields, frame) - middle) <= MOST_DIFFERENCE * middle]
    return tuple(agreeing or good[:1])


def case_measurement(
    fields: Mapping[int, Mapping[str, Any]], frames: Sequence[int], anatomy: Anatomy
) -> dict[str, Any] | None:
    """The case's circumference as JSON values (``measurement`` in docs/assessment.md); None without one.

    Args:
        fields: fields of each assessed frame, by frame number.
        frames: from :func:`combined_frames`.
        anatomy: what is measured.
    """
    if not frames:
        return None
    return {
        "name": anatomy.measurement,
        "mm": round(_value(fields, frames), 2),
        "interval_mm": None,
        "coverage": None,
        "frames": list(frames),
        "interval_absent": "this model has no calibrated interval",
    }


def _mm(fields: Mapping[int, Mapping[str, Any]], frame: int) -> float:
    return float(fields[frame]["circumference_mm"])


def _value(fields: Mapping[int, Mapping[str, Any]], frames: Sequence[int]) -> float:
    """Median of the frames' circumferences in mm, weighted by their quality."""
    weights = [float(fields[frame]["quality"]) for frame in frames]
    return weighted_median([_mm(fields, frame) for frame in frames], weights)
