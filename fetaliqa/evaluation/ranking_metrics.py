"""Threshold-free metrics of a frame score: ROC-AUC, average precision, and their curves (scikit-learn)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall, float [K], when scores of at least ``thresholds`` [K] are predicted positive."""

    precision: np.ndarray
    recall: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True)
class RocCurve:
    """False and true positive rate, float [K] each, from (0, 0) to (1, 1)."""

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray


def roc_auc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Area under the ROC curve (scikit-learn); ties count half. None when a class is absent.

    Args:
        scores: float [N].
        positive: bool [N], the truth.

    Raises:
        ValueError: when the shapes differ, or a score is not finite.

    Examples:
        The share of pairs of a positive and a negative frame in which the positive one scores higher: 3 of 4.

        >>> roc_auc(np.array([0.9, 0.6, 0.7, 0.1]), np.array([True, True, False, False]))
        0.75
    """
    from sklearn.metrics import roc_auc_score

    _check(scores, positive)
    return float(roc_auc_score(positive, scores)) if _both(positive) else None


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Average precision, sum of (R_k - R_k-1) P_k without interpolation (scikit-learn). None without both classes.

    Raises:
        ValueError: as :func:`roc_auc`.
    """
    from sklearn.metrics import average_precision_score

    _check(scores, positive)
    return float(average_precision_score(positive, scores)) if _both(positive) else None


def precision_recall(scores: np.ndarray, positive: np.ndarray) -> PrecisionRecall | None:
    """Precision and recall at every score, by rising recall. None when a class is absent.

    Raises:
        ValueError: as :func:`roc_auc`.
    """
    from sklearn.metrics import precision_recall_curve

    _check(scores, positive)
    if not _both(positive):
        return None
    precision, recall, thresholds = precision_recall_curve(positive, scores)
    # scikit-learn appends the point (recall 0, precision 1), which has no threshold
    return PrecisionRecall(precision[-2::-1], recall[-2::-1], thresholds[::-1])


def roc(scores: np.ndarray, positive: np.ndarray) -> RocCurve | None:
    """The ROC curve. None when a class is absent.

    Raises:
        ValueError: as :func:`roc_auc`.
    """
    from sklearn.metrics import roc_curve

    _check(scores, positive)
    if not _both(positive):
        return None
    false_rate, true_rate, _ = roc_curve(positive, scores)
    return RocCurve(false_rate, true_rate)


class WeightedRanking:
    """ROC-AUC and average precision for many case weights, for the bootstrap.

    Equal to scikit-learn's figures with ``sample_weight``, but the frames are sorted once instead of for each
    draw.

    Args:
        scores: float [N].
        positive: bool [N], the truth.
        cases: int [N], the case of each frame.

    Raises:
        ValueError: as :func:`roc_auc`.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray, cases: np.ndarray) -> None:
        _check(scores, positive)
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        self._positive = positive[order].astype(float)
        self._cases = cases[order]
        # only the last of several frames with equal scores is a point of the curve
        self._points = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else order

    def figures(self, weights: np.ndarray) -> tuple[float | None, float | None]:
        """(ROC-AUC, average precision) with case weights [C]; None without both classes."""
        each = weights[self._cases].astype(float)
        tp = np.cumsum(each * self._positive)[self._points]
        predicted = np.cumsum(each)[self._points]
        if not len(tp) or tp[-1] <= 0 or predicted[-1] <= tp[-1]:
            return None, None
        fp = predicted - tp
        area = float((np.diff(fp, prepend=0.0) * (tp + np.append(0.0, tp[:-1])) / 2).sum())
        precision = np.divide(tp, predicted, out=np.zeros_like(tp), where=predicted > 0)
        return area / (tp[-1] * fp[-1]), float((np.diff(tp, prepend=0.0) * precision).sum() / tp[-1])


def _both(positive: np.ndarray) -> bool:
    return bool(positive.any() and not positive.all())


def _check(scores: np.ndarray, positive: np.ndarray) -> None:
    if scores.shape != positive.shape or scores.ndim != 1:
        raise ValueError(f"scores of shape {scores.shape}, truth of shape {positive.shape}; expected [N] twice")
    if not np.isfinite(scores).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(scores))} of {len(scores)} scores are not finite numbers"
        )
