"""Calibration of frame scores: reliability diagram and expected calibration error.

scikit-learn's ``calibration_curve`` drops empty bins and returns no counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 15  # Guo et al. 2017 use 15 throughout


@dataclass(frozen=True)
class ReliabilityBins:
    """Frames grouped by score into equal-width bins over [0, 1].

    Attributes:
        edges: float [M + 1]; a score on an inner edge belongs to the bin above, 1 to the last bin.
        counts: int [M], frames per bin.
        mean_score: float [M], NaN in an empty bin.
        positive_share: float [M], share of truly positive frames, NaN in an empty bin.
    """

    edges: np.ndarray
    counts: np.ndarray
    mean_score: np.ndarray
    positive_share: np.ndarray


def bin_numbers(scores: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin of each score, int [N] from 0 to ``bins - 1``.

    Raises:
        ValueError: when a score is outside of [0, 1], or there is not at least one bin.
    """
    if bins < 1:
        raise ValueError(f"{bins} bins; at least 1 is needed")
    if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):  # NaN fails too
        raise ValueError(f"scores from {scores.min()} to {scores.max()}; calibration needs 0 to 1")
    return np.minimum((scores * bins).astype(int), bins - 1)


def reliability_bins(scores: np.ndarray, positive: np.ndarray, bins: int = BINS) -> ReliabilityBins:
    """The reliability table.

    Args:
        scores: float [N] in [0, 1].
        positive: bool [N], the truth.
        bins: number of bins M.

    Raises:
        ValueError: when the shapes differ, or as :func:`bin_numbers`.
    """
    if scores.shape != positive.shape or scores.ndim != 1:
        raise ValueError(f"scores of shape {scores.shape}, truth of shape {positive.shape}; expected [N] twice")
    numbers = bin_numbers(scores, bins)
    counts = np.bincount(numbers, minlength=bins)
    divisor = np.where(counts > 0, counts, np.nan)
    return ReliabilityBins(
        edges=np.linspace(0, 1, bins + 1),
        counts=counts,
        mean_score=np.bincount(numbers, weights=scores, minlength=bins) / divisor,
        positive_share=np.bincount(numbers, weights=positive.astype(float), minlength=bins) / divisor,
    )


def expected_calibration_error(scores: np.ndarray, positive: np.ndarray, bins: int = BINS) -> float | None:
    """Expected calibration error: sum over bins of n_m / N * |share of positives - mean score|.

    Of the positive class (Naeini, Cooper and Hauskrecht, AAAI 2015), with the equal-width bins of Guo et al., "On
    calibration of modern neural networks", ICML 2017, eq. 3. If most frames are negative it is dominated by the
    lowest bin; see the reliability table too. None without frames.

    Raises:
        ValueError: as :func:`reliability_bins`.

    Examples:
        Four frames scored 0.75, of which two show the anatomy.

        >>> expected_calibration_error(np.full(4, 0.75), np.array([True, True, False, False]))
        0.25
    """
    if not len(scores):
        return None
    table = reliability_bins(scores, positive, bins)
    gaps = np.abs(table.positive_share - table.mean_score)
    return float(np.nansum(table.counts * gaps) / len(scores))
