"""Frame metrics and the ACOUSLIC-AI challenge's metrics."""

from fetaliqa.metrics.acouslic import (
    CaseScore,
    CaseTruth,
    challenge_circumference,
    circumferences_from_row,
    evaluate_case,
    mean_score,
)
from fetaliqa.metrics.frames import (
    DiceMetrics,
    FrameMetrics,
    best_frame_distance,
    dice,
    dice_metrics,
    frame_metrics,
)

__all__ = [
    "CaseScore",
    "CaseTruth",
    "DiceMetrics",
    "FrameMetrics",
    "best_frame_distance",
    "challenge_circumference",
    "circumferences_from_row",
    "dice",
    "dice_metrics",
    "evaluate_case",
    "frame_metrics",
    "mean_score",
]
