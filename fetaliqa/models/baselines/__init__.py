"""Comparison models of the paper (He, Wang & Yaqub, arXiv 2507.22802): timm backbones with one linear unit."""

from fetaliqa.models.baselines.build import build_baseline
from fetaliqa.models.baselines.classifier import BaselineClassifier
from fetaliqa.models.baselines.images import ImageSpec
from fetaliqa.models.baselines.registry import BASELINES, STRATEGIES, Baseline, Strategy, baseline_named

__all__ = [
    "BASELINES",
    "STRATEGIES",
    "Baseline",
    "BaselineClassifier",
    "ImageSpec",
    "Strategy",
    "baseline_named",
    "build_baseline",
]
