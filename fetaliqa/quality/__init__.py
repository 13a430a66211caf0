"""Quality of frames and their ranking."""

from fetaliqa.quality.ranking import CaseRanking, SweepRanking, frame_support, rank_frames
from fetaliqa.quality.score import UNLIKE_DISTANCE, FrameEvidence, QualityScore, is_unlike, quality_score

__all__ = [
    "UNLIKE_DISTANCE",
    "CaseRanking",
    "FrameEvidence",
    "QualityScore",
    "SweepRanking",
    "frame_support",
    "is_unlike",
    "quality_score",
    "rank_frames",
]
