"""Model classes by task and architecture."""

from __future__ import annotations

from fetaliqa.model.architecture import Architecture, BackboneConfig
from fetaliqa.model.classification_model import FetalCLIPCls
from fetaliqa.model.compact_model import CompactSeg
from fetaliqa.model.encoder_model import EncoderModel, SegmentationModel
from fetaliqa.model.monai_model import MonaiSeg
from fetaliqa.model.network_config import NetworkConfig
from fetaliqa.model.segmentation_model import FetalCLIPSeg


def segmentation_class(architecture: Architecture) -> type[SegmentationModel]:
    """The segmentation model class of an architecture."""
    if isinstance(architecture.vision, NetworkConfig):
        return MonaiSeg
    return CompactSeg if isinstance(architecture.vision, BackboneConfig) else FetalCLIPSeg


def model_class(task: str, architecture: Architecture) -> type[EncoderModel]:
    """The model class of a task and an architecture."""
    return FetalCLIPCls if task == "classification" else segmentation_class(architecture)
