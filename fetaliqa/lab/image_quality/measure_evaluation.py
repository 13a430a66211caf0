"""Evaluation of image quality measures as classifiers of frames that show the anatomy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from fetaliqa.errors import OptionError


@dataclass(frozen=True)
class ClassicResult:
    """Figures of a measure on the test frames; None where the test frames are all of one class.

    Attributes:
        name: the measure.
        higher_is_positive: direction chosen on validation: larger values mean the anatomy is shown.
        threshold: value chosen on validation; a frame at it, or beyond it in that direction, is positive.
        roc_auc, average_precision: of the ranking by value.
        f1, precision, recall, accuracy: of the decisions by the threshold.
        frames: test frames.
        unscored: test frames without a value; they count as least likely to show the anatomy.
        reason: why the measure has no figures; None when it has.
    """

    name: str
    higher_is_positive: bool | None
    threshold: float | None
    roc_auc: float | None
    average_precision: float | None
    f1: float | None
    precision: float | None
    recall: float | None
    accuracy: float | None
    frames: int
    unscored: int
    reason: str | None = None


def evaluate_classic(
    validation_scores: Mapping[str, np.ndarray],
    validation_truth: np.ndarray,
    test_scores: Mapping[str, np.ndarray],
    test_truth: np.ndarray,
) -> list[ClassicResult]:
    """Evaluate measures on test frames, with direction and threshold chosen on validation frames.

    The direction is the one with ROC-AUC of at least 0.5, the threshold the one with the highest F1 (the strictest
    of equals), both on validation. All measures are evaluated on the same test frames; a frame without a value
    counts as negative and is ranked last.

    Args:
        validation_scores, test_scores: per measure, float [N] and [M]; NaN where undefined.
        validation_truth, test_truth: bool [N] and [M], whether the frame shows the anatomy.

    Returns:
        One result per measure, in the order of ``validation_scores``.

    Raises:
        OptionError: when the validation frames are all of one class, or scikit-learn is not installed.
        ValueError: when lengths or measures do not fit together.
    """
    if find_spec("sklearn") is None:
        raise OptionError("scikit-learn, which computes the figures, is not installed; install the extra iqa")
    chosen_on, judged_on = _truth(validation_truth), _truth(test_truth)
    if chosen_on.all() or not chosen_on.any():
        raise OptionError(
            f"the {len(chosen_on)} validation frames are all of one class; direction and threshold need both"
        )
    if set(validation_scores) != set(test_scores):
        raise ValueError(f"measures {sorted(validation_scores)} for validation, {sorted(test_scores)} for test")
    return [
        _evaluate(name, _values(name, values, chosen_on), chosen_on, _values(name, test_scores[name], judged_on),
                  judged_on)
        for name, values in validation_scores.items()
    ]  # fmt: skip


def grade_correlation(result: ClassicResult, values: np.ndarray, grades: np.ndarray) -> float | None:
    """Spearman's rank correlation of a measure with the grade of the plane (none, suboptimal, optimal).

    In the direction chosen on validation; a frame without a value is ranked last.

    Args:
        result: of the measure.
        values: float [N], NaN where undefined.
        grades: [N]; 0 nothing to outline, 1 optimal, 2 suboptimal plane.

    Returns:
        None where it is undefined: without a direction, or where all frames or all values are alike.
    """
    from scipy.stats import spearmanr

    if result.higher_is_positive is None:
        return None
    order = np.array([0, 2, 1])[grades]
    ranked = _ranked((1.0 if result.higher_is_positive else -1.0) * np.asarray(values, float))
    if len(np.unique(order)) < 2 or len(np.unique(ranked)) < 2:
        return None
    return float(spearmanr(ranked, order).statistic)


def _evaluate(
    name: str, validation: np.ndarray, chosen_on: np.ndarray, test: np.ndarray, judged_on: np.ndarray
) -> ClassicResult:
    # imported here: scikit-learn takes a second to import and comes with an extra
    from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

    unscored = int(np.isnan(test).sum())
    defined = ~np.isnan(validation)
    if not defined.any():
        nothing = "no validation frame has a value"
        return ClassicResult(name, None, None, None, None, None, None, None, None, len(test), unscored, nothing)
    both = 0 < np.count_nonzero(chosen_on[defined]) < np.count_nonzero(defined)
    higher = not both or roc_auc_score(chosen_on[defined], validation[defined]) >= 0.5
    sign = 1.0 if higher else -1.0
    threshold = _best_threshold(_ranked(sign * validation), chosen_on)
    values = _ranked(sign * test)
    positive = values >= threshold
    mixed = bool(judged_on.any() and not judged_on.all())
    return ClassicResult(
        name,
        higher,
        sign * threshold,
        float(roc_auc_score(judged_on, values)) if mixed else None,
        float(average_precision_score(judged_on, values)) if mixed else None,
        float(f1_score(judged_on, positive, zero_division=0)) if judged_on.any() else None,
        float(precision_score(judged_on, positive, zero_division=0)) if judged_on.any() else None,
        float(recall_score(judged_on, positive)) if judged_on.any() else None,
        float((positive == judged_on).mean()) if len(judged_on) else None,
        len(test),
        unscored,
    )


def _best_threshold(values: np.ndarray, truth: np.ndarray) -> float:
    """The threshold, halfway between two neighbouring values, with the highest F1; the strictest of equals."""
    order = np.argsort(-values, kind="stable")
    ranked, hits = values[order], np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(values) + 1) + truth.sum())
    last_of_value = np.append(ranked[1:] != ranked[:-1], True)
    usable = last_of_value & (ranked > _LOWEST)
    best = int(np.argmax(np.where(usable, f1, -1.0)))
    below = ranked[best + 1] if best + 1 < len(ranked) and ranked[best + 1] > _LOWEST else ranked[best]
    return float((ranked[best] + below) / 2)


_LOWEST = float(np.finfo(np.float64).min)  # stands for "no value": sklearn refuses infinities


def _ranked(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), _LOWEST, values)


def _truth(truth: np.ndarray) -> np.ndarray:
    values = np.asarray(truth)
    if values.ndim != 1:
        raise ValueError(f"truth of shape {values.shape}; [N] is needed")
    return values.astype(bool)


def _values(name: str, values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    scores = np.asarray(values, dtype=float)
    if scores.shape != truth.shape:
        raise ValueError(f"{name}: values of shape {scores.shape} for {len(truth)} frames")
    return scores
