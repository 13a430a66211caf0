"""No-reference image quality measures as baselines of frame classification.

``classic_scores`` gives a score per frame and measure; ``evaluate_classic`` chooses direction and threshold of
each on validation frames and reports ROC-AUC, AP and F1 on test frames.
"""

from fetaliqa.lab.image_quality.measure_evaluation import ClassicResult, evaluate_classic, grade_correlation
from fetaliqa.lab.image_quality.measure_list import (
    MEASURES,
    ClassicMeasure,
    measure_table,
    runnable_measures,
    trainable_measures,
)
from fetaliqa.lab.image_quality.measure_scores import classic_scores

__all__ = [
    "MEASURES",
    "ClassicMeasure",
    "ClassicResult",
    "classic_scores",
    "evaluate_classic",
    "grade_correlation",
    "measure_table",
    "runnable_measures",
    "trainable_measures",
]
