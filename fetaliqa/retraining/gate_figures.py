"""Figures of two models on the same frames, with a paired bootstrap of their differences by subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fetaliqa.evaluation.bootstrap import draw_cases, frame_figures, percentile_interval, ratios

DRAWS = 2000
# Least number of subjects for a significant difference. Where all differ in one direction the interval excludes 0,
# however few they are; by chance that happens once in 2**4 with four subjects, and once in 2**5 (3 %) with five.
SURE_SUBJECTS = 5
FIGURES = ("dice", "f1", "recall", "specificity", "balanced_accuracy", "ac_error", "score")
LOWER_IS_BETTER = ("ac_error",)

# Of each case or subject, sums of: Dice, outlined frames; true and false positives, false and true negatives
# (weighted by the frames that each represents); relative AC errors and count; challenge scores and count.
SUMS = ("dice", "outlined", "tp", "fp", "fn", "tn", "ac", "acs", "score", "scores")
COLUMN = {name: number for number, name in enumerate(SUMS)}
COUNTS = slice(COLUMN["tp"], COLUMN["tn"] + 1)


def by_subject(sums: np.ndarray, subjects: Sequence[str]) -> np.ndarray:
    """Sums of cases [2, C, 10] added up by subject [2, S, 10]; ``subjects`` names the subject of each case."""
    names, place = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    result = np.zeros((len(sums), len(names), sums.shape[2]))
    for case, subject in enumerate(place):
        result[:, subject] += sums[:, case]
    return result


def paired_figures(sums: np.ndarray, draws: int = DRAWS, seed: int = 0) -> dict[str, dict[str, Any] | None]:
    """Figures of both models, and the bootstrap of their differences over the same resampled subjects.

    Args:
        sums: [2, S, 10] of the published model and the candidate, see ``SUMS``.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        By name ``published``, ``candidate``, ``difference`` (positive: the candidate is better), ``subjects``
        (that hold anything of it), ``interval`` (95 %; None with fewer than two such subjects) and ``sure``
        (``better``, ``worse``, or None: not significant). None where the figure is undefined.
    """
    weights = draw_cases(sums.shape[1], draws, seed)
    values = [_figures(own.sum(axis=0, keepdims=True)) for own in sums]
    drawn = [_figures(weights @ own) for own in sums]
    result: dict[str, dict[str, Any] | None] = {}
    for name in FIGURES:
        before, after = (float(one[name][0]) for one in values)
        if not np.isfinite([before, after]).all():
            result[name] = None
            continue
        sign = -1 if name in LOWER_IS_BETTER else 1
        subjects = _subjects(sums, name)
        spread = percentile_interval(sign * (drawn[1][name] - drawn[0][name])) if subjects >= 2 else None
        interval = None if spread is None else [round(spread.low, 5), round(spread.high, 5)]
        result[name] = {
            "published": round(before, 5),
            "candidate": round(after, 5),
            "difference": round(sign * (after - before), 5),
            "interval": interval,
            "subjects": subjects,
            "sure": _sure(interval, subjects),
        }
    return result


def _figures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """From sums [B, 10] to figures [B]."""
    frames = frame_figures(sums[:, COUNTS])
    column = {name: sums[:, number] for name, number in COLUMN.items()}
    return {
        "dice": ratios(column["dice"], column["outlined"]),
        "f1": frames["f1"],
        "recall": frames["recall"],
        "specificity": frames["specificity"],
        "balanced_accuracy": (frames["recall"] + frames["specificity"]) / 2,
        "ac_error": ratios(column["ac"], column["acs"]),
        "score": ratios(column["score"], column["scores"]),
    }


def _subjects(sums: np.ndarray, name: str) -> int:
    """Number of subjects that contribute to a figure; for balanced accuracy, of the rarer kind of frame."""
    if name == "balanced_accuracy":
        return min(_subjects(sums, "recall"), _subjects(sums, "specificity"))
    needed = {
        "dice": ("outlined",),
        "f1": ("tp", "fp", "fn"),
        "recall": ("tp", "fn"),
        "specificity": ("fp", "tn"),
        "ac_error": ("acs",),
        "score": ("scores",),
    }[name]
    columns = [COLUMN[one] for one in needed]
    return int(np.count_nonzero(sums[:, :, columns].any(axis=(0, 2))))


def _sure(interval: list[float] | None, subjects: int) -> str | None:
    if interval is None or subjects < SURE_SUBJECTS:
        return None
    if interval[0] > 0:
        return "better"
    return "worse" if interval[1] < 0 else None
