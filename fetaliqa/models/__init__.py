"""Models: the FetalCLIP image encoder with adapters and heads, its weights, and model bundles.

Build one to train with ``build_segmentation`` or ``build_classification``; save it with ``save_bundle``; use it
with ``Bundle.open(path).load_model()``.
"""

from fetaliqa.models.architecture import (
    PAPER_TAPS,
    UNETR_TAPS,
    Architecture,
    DecoderConfig,
    VisionConfig,
    load_architecture,
)
from fetaliqa.models.build import build_classification, build_segmentation
from fetaliqa.models.bundle import Bundle, save_bundle
from fetaliqa.models.card import BaseReference, BundleCard, Threshold, TrainingData
from fetaliqa.models.classification import FetalCLIPCls
from fetaliqa.models.encoder_model import EncoderModel, trainable_count, trainable_parameters
from fetaliqa.models.lora import LoraSettings
from fetaliqa.models.preprocess import Preprocessing, normalise
from fetaliqa.models.segmentation import FetalCLIPSeg

__all__ = [
    "PAPER_TAPS",
    "UNETR_TAPS",
    "Architecture",
    "BaseReference",
    "Bundle",
    "BundleCard",
    "DecoderConfig",
    "EncoderModel",
    "FetalCLIPCls",
    "FetalCLIPSeg",
    "LoraSettings",
    "Preprocessing",
    "Threshold",
    "TrainingData",
    "VisionConfig",
    "build_classification",
    "build_segmentation",
    "load_architecture",
    "normalise",
    "save_bundle",
    "trainable_count",
    "trainable_parameters",
]
