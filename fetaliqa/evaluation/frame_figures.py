"""Figures over a set of frames, with confidence intervals from resampling cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fetaliqa.evaluation.bootstrap import (
    Interval,
    any_intervals,
    count_intervals,
    dice_figures,
    frame_figures,
    ratios,
)
from fetaliqa.evaluation.frame_metrics import FrameMetrics, frame_metrics
from fetaliqa.evaluation.frame_table import FrameTable
from fetaliqa.evaluation.ranking_metrics import WeightedRanking, average_precision, roc_auc
from fetaliqa.evaluation.score_calibration import BINS, bin_numbers, expected_calibration_error

# In display order; classification models have no Dice figures.
FIGURES = (
    "accuracy",
    "f1",
    "precision",
    "recall",
    "specificity",
    "micro_dice",
    "positive_dice",
    "roc_auc",
    "average_precision",
    "ece",
    "prevalence",
)


@dataclass(frozen=True)
class Figure:
    """A value (None if undefined) and its confidence interval (None without one)."""

    value: float | None
    interval: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """``value``, ``low``, ``high``, ``draws``."""
        interval = self.interval
        return {
            "value": self.value,
            "low": None if interval is None else interval.low,
            "high": None if interval is None else interval.high,
            "draws": 0 if interval is None else interval.draws,
        }


@dataclass(frozen=True)
class Protocol:
    """A model's figures over a set of frames.

    Attributes:
        cases: cases with at least one frame in the set.
        frames: frames in the set.
        counts: confusion counts.
        figures: by name, see ``FIGURES``:
            ``accuracy``, ``f1``, ``precision``, ``recall``, ``specificity`` of classifying frames as positive;
            ``micro_dice``: one Dice over the pixels of all frames on the square grid, including negative frames,
            as in the released code of FetalCLIP-IQA (smp F-score over all pixels); ``positive_dice``: mean Dice on
            the square grid over positive frames; an undetected one counts 0; ``roc_auc``, ``average_precision``,
            ``ece`` (15 bins) of the frame score; ``prevalence``: share of positive frames.
    """

    cases: int
    frames: int
    counts: FrameMetrics
    figures: dict[str, Figure]

    def to_json(self) -> dict[str, Any]:
        """The protocol as JSON values."""
        counts = self.counts
        return {
            "cases": self.cases,
            "frames": self.frames,
            "true_positive": counts.true_positive,
            "false_positive": counts.false_positive,
            "false_negative": counts.false_negative,
            "true_negative": counts.true_negative,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
        }


def judge(table: FrameTable, weights: np.ndarray, *, masks: bool) -> Protocol:
    """Compute all figures of a table's frames.

    Args:
        table: the frames.
        weights: int [B, C], how often each of all evaluated cases is in each bootstrap draw; B may be 0.
        masks: whether the model has masks, so that Dice figures are defined.
    """
    cases = weights.shape[1]
    figures = with_intervals(_confusion(table, cases), frame_figures, weights)
    if masks:
        figures |= with_intervals(_overlap(table, cases), dice_figures, weights)
    figures |= _ranking(table, weights)
    ece = with_intervals(_bins(table, cases), _ece, weights)["ece"]
    figures["ece"] = Figure(expected_calibration_error(table.score, table.target), ece.interval)
    return Protocol(
        cases=len(np.unique(table.case)),
        frames=len(table),
        counts=frame_metrics(table.positive, table.target),
        figures={name: figures[name] for name in FIGURES if name in figures},
    )


def with_intervals(
    counts: np.ndarray, function: Callable[[np.ndarray], dict[str, np.ndarray]], weights: np.ndarray
) -> dict[str, Figure]:
    """Figures that are a function of summed per-case counts [C, K], with intervals; see ``count_intervals``."""
    values = function(counts.sum(axis=0, keepdims=True))
    intervals = count_intervals(counts, function, weights)
    return {
        name: Figure(float(value[0]) if np.isfinite(value[0]) else None, intervals[name])
        for name, value in values.items()
    }


def _per_case(table: FrameTable, cases: int, *columns: np.ndarray) -> np.ndarray:
    """Sums of columns [N] by case: [C, K]."""
    sums = [np.bincount(table.case, weights=column.astype(float), minlength=cases) for column in columns]
    return np.stack(sums, axis=1)


def _confusion(table: FrameTable, cases: int) -> np.ndarray:
    called, truth = table.positive, table.target
    return _per_case(table, cases, called & truth, called & ~truth, ~called & truth, ~called & ~truth)


def _overlap(table: FrameTable, cases: int) -> np.ndarray:
    dice = np.where(table.target, np.nan_to_num(table.dice()), 0.0)
    return _per_case(table, cases, table.both, table.predicted, table.truth, dice, table.target)


def _bins(table: FrameTable, cases: int) -> np.ndarray:
    """(frames, score, positives) of each bin and case: [C, 3 * BINS]."""
    place = table.case * BINS + bin_numbers(table.score, BINS)
    sums = [
        np.bincount(place, weights=column, minlength=cases * BINS).reshape(cases, BINS)
        for column in (np.ones(len(table)), table.score, table.target.astype(float))
    ]
    return np.concatenate(sums, axis=1)


def _ece(counts: np.ndarray) -> dict[str, np.ndarray]:
    frames, scores, positives = np.split(counts, 3, axis=1)
    # n_m / N * |positives / n_m - scores / n_m| = |positives - scores| / N
    return {"ece": ratios(np.abs(positives - scores).sum(axis=1), frames.sum(axis=1))}


def _ranking(table: FrameTable, weights: np.ndarray) -> dict[str, Figure]:
    ranked = WeightedRanking(table.score, table.target, table.case)
    intervals: list[Interval | None] = [None, None]
    if len(np.unique(table.case)) > 1:
        intervals = any_intervals(ranked.figures, weights) or intervals
    return {
        "roc_auc": Figure(roc_auc(table.score, table.target), intervals[0]),
        "average_precision": Figure(average_precision(table.score, table.target), intervals[1]),
    }
