from .assessment import ASSESSMENT_SCHEMA as ASSESSMENT_SCHEMA
from .assessment import Assessment as Assessment
from .assessment import assess as assess
from .assessment_cache import AssessmentCache as AssessmentCache
from .assessment_options import AssessOptions as AssessOptions
from .devices import choose_device as choose_device
from .predictor import Predictor as Predictor
