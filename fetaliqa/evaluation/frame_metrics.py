"""Frame metrics: binary classification of frames, Dice, and distance of the best frame.

The counts are stored, so that cases can be added and resampled; scikit-learn's metrics start from labels and
return 0 or a warning where a figure here is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FrameMetrics:
    """Confusion counts of a binary classification of frames, and derived figures.

    A figure with a zero denominator is None: a set without positive frames has no recall.
    """

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def accuracy(self) -> float | None:
        right = self.true_positive + self.true_negative
        return _ratio(right, right + self.false_positive + self.false_negative)

    @property
    def precision(self) -> float | None:
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float | None:
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float | None:
        return _ratio(self.true_negative, self.true_negative + self.false_positive)

    @property
    def f1(self) -> float | None:
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)

    def as_dict(self) -> dict[str, float | int | None]:
        """All counts and figures by name."""
        return {
            "true_positive": self.true_positive,
            "false_positive": self.false_positive,
            "false_negative": self.false_negative,
            "true_negative": self.true_negative,
            "accuracy": self.accuracy,
            "precision": self.precision,
            "recall": self.recall,
            "specificity": self.specificity,
            "f1": self.f1,
        }

    def __add__(self, other: FrameMetrics) -> FrameMetrics:
        return FrameMetrics(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
            self.true_negative + other.true_negative,
        )


def frame_metrics(predicted: np.ndarray, truth: np.ndarray) -> FrameMetrics:
    """Confusion counts of predicted against true labels, bool [N] each.

    Raises:
        ValueError: when the lengths differ.

    Examples:
        >>> metrics = frame_metrics(np.array([True, True, False, False]), np.array([True, False, True, False]))
        >>> metrics.precision, metrics.recall, metrics.f1, metrics.accuracy
        (0.5, 0.5, 0.5, 0.5)
    """
    if predicted.shape != truth.shape or predicted.ndim != 1:
        raise ValueError(f"predicted of shape {predicted.shape}, truth of shape {truth.shape}; expected [N] twice")
    p, t = predicted.astype(bool), truth.astype(bool)
    return FrameMetrics(int((p & t).sum()), int((p & ~t).sum()), int((~p & t).sum()), int((~p & ~t).sum()))


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient 2 |P and T| / (|P| + |T|) of two masks of equal shape; 1 when both are empty.

    Raises:
        ValueError: when the shapes differ.

    Examples:
        >>> dice(np.array([[1, 1, 0]]), np.array([[0, 1, 1]]))
        0.5
    """
    p, t = predicted != 0, truth != 0
    if p.shape != t.shape:
        raise ValueError(f"masks of shapes {p.shape} and {t.shape}")
    total = np.count_nonzero(p) + np.count_nonzero(t)
    return 2 * np.count_nonzero(p & t) / total if total else 1.0


def best_frame_distance(
    frame: int | None, labels: np.ndarray, ranges: Iterable[tuple[int, int]]
) -> tuple[int | None, int | None]:
    """Distance of a chosen frame from the nearest annotated plane.

    Args:
        frame: chosen frame, or None for none.
        labels: int [T]; 0 no plane, 1 optimal, 2 suboptimal.
        ranges: half-open frame range of each sweep.

    Returns:
        Distance in frames to the nearest optimal frame of the same sweep, or to the nearest suboptimal one
        where that sweep has no optimal frame (None when it has neither, or ``frame`` is None); and the
        label that was looked for (1, 2 or None).

    Raises:
        ValueError: when ``frame`` lies in no sweep.

    Examples:
        >>> labels = np.array([0, 2, 0, 0, 1, 0])
        >>> best_frame_distance(2, labels, [(0, 6)])  # the suboptimal frame 1 is nearer, but 4 is optimal
        (2, 1)
    """
    if frame is None:
        return None, None
    for start, stop in ranges:
        if start <= frame < stop:
            for label in (1, 2):
                planes = np.flatnonzero(labels[start:stop] == label) + start
                if len(planes):
                    return int(np.abs(planes - frame).min()), label
            return None, None
    raise ValueError(f"frame {frame} lies in none of the sweeps")


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
