"""Frame metrics, ranking, calibration, confidence intervals, and the ACOUSLIC-AI challenge's metrics."""

from fetaliqa.metrics.acouslic import (
    CaseScore,
    CaseTruth,
    challenge_circumference,
    circumferences_from_row,
    evaluate_case,
    mean_score,
    official_field_of_view,
)
from fetaliqa.metrics.bootstrap import (
    Interval,
    TrialSummary,
    any_intervals,
    count_intervals,
    draw_cases,
    over_trials,
    percentile_interval,
)
from fetaliqa.metrics.calibration import ReliabilityBins, expected_calibration_error, reliability_bins
from fetaliqa.metrics.frames import (
    DiceMetrics,
    FrameMetrics,
    best_frame_distance,
    dice,
    dice_metrics,
    frame_metrics,
)
from fetaliqa.metrics.ranking import (
    PrecisionRecall,
    RocCurve,
    WeightedRanking,
    at_threshold,
    average_precision,
    precision_recall,
    roc,
    roc_auc,
)

__all__ = [
    "CaseScore",
    "CaseTruth",
    "DiceMetrics",
    "FrameMetrics",
    "Interval",
    "PrecisionRecall",
    "ReliabilityBins",
    "RocCurve",
    "TrialSummary",
    "WeightedRanking",
    "any_intervals",
    "at_threshold",
    "average_precision",
    "best_frame_distance",
    "challenge_circumference",
    "circumferences_from_row",
    "count_intervals",
    "dice",
    "dice_metrics",
    "draw_cases",
    "evaluate_case",
    "expected_calibration_error",
    "frame_metrics",
    "mean_score",
    "official_field_of_view",
    "over_trials",
    "percentile_interval",
    "precision_recall",
    "reliability_bins",
    "roc",
    "roc_auc",
]
