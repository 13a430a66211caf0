from .label_statistics import label_statistics as label_statistics
from .phantom_case import draw_plan as draw_plan
from .phantom_case import generate_case as generate_case
from .phantom_dataset import write_dataset as write_dataset
from .phantom_settings import PhantomCase as PhantomCase
from .phantom_settings import PhantomSettings as PhantomSettings
