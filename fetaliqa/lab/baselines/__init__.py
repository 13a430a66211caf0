"""Baseline classifiers of the paper (He, Wang & Yaqub, arXiv 2507.22802): timm backbones with one linear unit."""

from fetaliqa.lab.baselines.baseline_builders import build_baseline
from fetaliqa.lab.baselines.baseline_classifier import BaselineClassifier
from fetaliqa.lab.baselines.baseline_images import ImageSpec
from fetaliqa.lab.baselines.baseline_networks import BASELINES, STRATEGIES, Baseline, Strategy, baseline_named

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
