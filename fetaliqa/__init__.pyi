from .errors import FetalIQAError as FetalIQAError
from .inference.assessment import Assessment as Assessment
from .inference.frame_assessment import FrameAssessment as FrameAssessment
from .labels.case_labels import CaseLabels as CaseLabels
from .labels.case_labels import Labels as Labels
from .labels.frame_record import FrameLabel as FrameLabel
from .pictures.frame_picture import frame_picture as frame_picture
from .registry.loaded_model import Model as Model
from .registry.loaded_model import assess as assess
from .registry.loaded_model import load_model as load_model
from .sweep.masks import read_masks as read_masks
from .sweep.masks import write_masks as write_masks
from .sweep.sweep_reader import read_sweep as read_sweep
from .sweep.sweep_types import Sweep as Sweep
from .sweep.sweep_types import sweep_from_array as sweep_from_array

__version__: str
