"""Uncertainty of figures: percentile bootstrap over cases, and mean and standard deviation over trials.

Frames of one case are correlated, so cases are resampled, not frames. A draw is a vector of weights: how often
each case was drawn. Figures that are functions of counts are computed for all draws in one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
MIN_DEFINED = 0.5  # least share of draws with a defined value


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        low, high: its limits.
        draws: draws with a defined value (a draw without positive frames has no recall).
    """

    low: float
    high: float
    draws: int


@dataclass(frozen=True)
class TrialSummary:
    """Mean over trials and sample standard deviation (n - 1; None with one trial)."""

    mean: float
    std: float | None
    trials: int

    def __str__(self) -> str:
        return f"{self.mean:.4f}" if self.std is None else f"{self.mean:.4f} ± {self.std:.4f}"


def draw_cases(cases: int, draws: int, seed: int) -> np.ndarray:
    """Bootstrap weights: multiplicity of each case in each draw, int [draws, cases]; every row sums to ``cases``.

    Raises:
        ValueError: when a number is negative.
    """
    if cases < 0 or draws < 0 or seed < 0:
        raise ValueError(f"{cases} cases, {draws} draws, seed {seed}; none may be negative")
    if not cases:
        return np.zeros((draws, 0), np.int64)
    return np.random.default_rng(seed).multinomial(cases, np.full(cases, 1 / cases), size=draws)


def percentile_interval(values: np.ndarray, level: float = LEVEL) -> Interval | None:
    """The central ``level`` of bootstrap values [B] (Efron and Tibshirani 1993, section 13.3).

    Undefined values (NaN or infinite) are ignored; None when fewer than half of the draws have a value.
    """
    defined = values[np.isfinite(values)]
    if not len(defined) or len(defined) < MIN_DEFINED * len(values):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), len(defined))


def count_intervals(
    counts: np.ndarray,
    figures: Callable[[np.ndarray], dict[str, np.ndarray]],
    weights: np.ndarray,
    level: float = LEVEL,
) -> dict[str, Interval | None]:
    """Intervals of figures that are functions of summed counts.

    Args:
        counts: [C, K], K counts of each case.
        figures: from summed counts [B, K] to named figures [B], NaN where undefined.
        weights: int [B, C] of :func:`draw_cases`.
        level: share of the draws inside of the interval.

    Returns:
        Interval by name; all None when fewer than two cases have counts, since nothing varies then.

    Raises:
        ValueError: when counts and weights are not of the same number of cases.
    """
    if counts.ndim != 2 or weights.shape[1:] != counts.shape[:1]:
        raise ValueError(f"counts of shape {counts.shape}, weights of shape {weights.shape}; [C, K] and [B, C]")
    values = figures(weights @ counts)
    if np.count_nonzero(counts.any(axis=1)) < 2:
        return dict.fromkeys(values)
    return {name: percentile_interval(value, level) for name, value in values.items()}


def any_intervals(
    figures: Callable[[np.ndarray], Sequence[float | None]], weights: np.ndarray, level: float = LEVEL
) -> list[Interval | None]:
    """Intervals of figures that are not functions of counts, computed draw by draw.

    Args:
        figures: from one draw's weights [C] to the figures, None where undefined.
        weights: int [B, C] of :func:`draw_cases`.
        level: share of the draws inside of the interval.

    Returns:
        One interval per figure; an empty list without draws.
    """
    rows = [[np.nan if value is None else value for value in figures(draw)] for draw in weights]
    if not rows:
        return []
    if weights.shape[1] < 2:
        return [None] * len(rows[0])
    return [percentile_interval(column, level) for column in np.array(rows, float).T]


def over_trials(values: Sequence[float | None]) -> TrialSummary | None:
    """Mean and standard deviation of a figure over trials; None when a trial has no value."""
    numbers = [value for value in values if value is not None]
    if not numbers or len(numbers) < len(values):
        return None
    std = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None
    return TrialSummary(float(np.mean(numbers)), std, len(numbers))


def ratios(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole`` as float, NaN where ``whole`` is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) != 0)


def frame_figures(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, F1, precision, recall, specificity, prevalence [B] each, from (TP, FP, FN, TN) counts [B, 4]."""
    tp, fp, fn, tn = (counts[:, column] for column in range(4))
    return {
        "accuracy": ratios(tp + tn, tp + fp + fn + tn),
        "f1": ratios(2 * tp, 2 * tp + fp + fn),
        "precision": ratios(tp, tp + fp),
        "recall": ratios(tp, tp + fn),
        "specificity": ratios(tn, tn + fp),
        "prevalence": ratios(tp + fn, tp + fp + fn + tn),
    }


def dice_figures(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Micro-Dice and mean Dice [B] each, from (pixels in both, predicted, true; sum of Dice, frames) [B, 5]."""
    return {
        "micro_dice": ratios(2 * counts[:, 0], counts[:, 1] + counts[:, 2]),
        "positive_dice": ratios(counts[:, 3], counts[:, 4]),
    }
