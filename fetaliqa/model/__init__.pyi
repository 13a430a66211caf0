from .architecture import (
    Architecture as Architecture,
)
from .architecture import (
    DecoderConfig as DecoderConfig,
)
from .architecture import (
    VisionConfig as VisionConfig,
)
from .architecture import (
    load_architecture as load_architecture,
)
from .bundle import Bundle as Bundle
from .bundle_card import (
    BaseReference as BaseReference,
)
from .bundle_card import (
    BundleCard as BundleCard,
)
from .bundle_card import (
    Threshold as Threshold,
)
from .bundle_card import (
    TrainingData as TrainingData,
)
from .bundle_tensors import save_bundle as save_bundle
from .classification_model import FetalCLIPCls as FetalCLIPCls
from .compact_model import CompactSeg as CompactSeg
from .encoder_model import (
    EncoderModel as EncoderModel,
)
from .encoder_model import (
    SegmentationModel as SegmentationModel,
)
from .encoder_model import (
    trainable_count as trainable_count,
)
from .encoder_model import (
    trainable_parameters as trainable_parameters,
)
from .lora_settings import LoraSettings as LoraSettings
from .model_builders import build_classification as build_classification
from .model_builders import build_segmentation as build_segmentation
from .preprocess import Preprocessing as Preprocessing
from .preprocess import normalise as normalise
from .segmentation_model import FetalCLIPSeg as FetalCLIPSeg
