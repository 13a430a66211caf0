"""From a sweep and a model bundle to an assessment: masks, quality, ranking, circumference."""

from fetaliqa.inference.assessment import ASSESSMENT_SCHEMA, Assessment, assess
from fetaliqa.inference.cache import AssessmentCache
from fetaliqa.inference.options import AssessOptions
from fetaliqa.inference.predictor import Predictor, choose_device
from fetaliqa.inference.service import AssessmentResult, AssessmentService

__all__ = [
    "ASSESSMENT_SCHEMA",
    "AssessOptions",
    "Assessment",
    "AssessmentCache",
    "AssessmentResult",
    "AssessmentService",
    "Predictor",
    "assess",
    "choose_device",
]
