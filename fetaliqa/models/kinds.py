"""Which class a bundle's model is of."""

from __future__ import annotations

from fetaliqa.models.architecture import Architecture, BackboneConfig
from fetaliqa.models.classification import FetalCLIPCls
from fetaliqa.models.compact import CompactSeg
from fetaliqa.models.encoder_model import EncoderModel, SegmentationModel
from fetaliqa.models.segmentation import FetalCLIPSeg


def segmentation_class(architecture: Architecture) -> type[SegmentationModel]:
    """The segmentation model of an architecture."""
    return CompactSeg if isinstance(architecture.vision, BackboneConfig) else FetalCLIPSeg


def model_class(task: str, architecture: Architecture) -> type[EncoderModel]:
    """The model of a task and an architecture."""
    return FetalCLIPCls if task == "classification" else segmentation_class(architecture)
