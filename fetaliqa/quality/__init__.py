"""Quality of frames and their ranking."""

from fetaliqa.quality.ranking import CaseRanking, SweepRanking, frame_support, rank_frames
from fetaliqa.quality.score import FrameEvidence, QualityScore, quality_score

__all__ = [
    "CaseRanking",
    "FrameEvidence",
    "QualityScore",
    "SweepRanking",
    "frame_support",
    "quality_score",
    "rank_frames",
]
