from .assessment_service import AssessmentService as AssessmentService
from .model_store import resolve_bundle as resolve_bundle
