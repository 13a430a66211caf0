"""Builds a baseline: pretrained, from a file, with random values, or reduced."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from fetaliqa.errors import OptionError
from fetaliqa.lab.baselines.baseline_classifier import BaselineClassifier
from fetaliqa.lab.baselines.baseline_images import ImageSpec
from fetaliqa.lab.baselines.baseline_networks import STRATEGIES, Baseline, Strategy, baseline_named
from fetaliqa.lab.baselines.baseline_weights import load_pretrained
from fetaliqa.lab.baselines.reduced_baselines import REDUCED_SIZE, reduced_backbone


def build_baseline(
    key: str,
    *,
    strategy: Strategy | None = None,
    pretrained: bool = True,
    as_released: bool = False,
    reduced: bool = False,
    weights: str | Path | None = None,
    crop: bool | None = None,
) -> BaselineClassifier:
    """A baseline ready to train, with a fresh linear head.

    Args:
        key: a key of ``BASELINES``.
        strategy: what training changes; None for what the paper does with this model.
        pretrained: start from the weights the timm id names; False: from random values.
        as_released: put adapters where the released code does (patch embedding included), cut frames as it does.
        reduced: a small member of the family with random weights, for frames of 64 pixels.
        weights: a local ``.safetensors`` or PyTorch file of these weights, instead of timm's hub.
        crop: make timm's evaluation crop (it cuts the border of square frames); None: only when ``as_released``.

    Raises:
        OptionError: for an unknown key or strategy, options that exclude each other, or released adapter targets
            on a network they do not match.
        WeightsError: when the weights cannot be read or do not fit.
    """
    baseline = baseline_named(key)
    strategy = strategy or baseline.strategy
    if strategy not in STRATEGIES:
        raise OptionError(f"unknown strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
    if weights is not None and (reduced or not pretrained):
        raise OptionError("weights were given and random values asked for; choose one")
    backbone = reduced_backbone(key) if reduced else _full_backbone(baseline)
    if pretrained and not reduced:
        load_pretrained(backbone, baseline, weights)
    spec = _image_spec(baseline, REDUCED_SIZE if reduced else None, as_released if crop is None else crop)
    return BaselineClassifier(baseline, backbone, spec, strategy, as_released=as_released, reduced=reduced)


def _full_backbone(baseline: Baseline) -> nn.Module:
    # imported here: timm takes seconds to import
    import timm

    return timm.create_model(baseline.timm_id, pretrained=False, num_classes=0)


def _image_spec(baseline: Baseline, size: int | None, crop: bool) -> ImageSpec:
    import timm
    from timm.data import resolve_data_config

    published = timm.get_pretrained_cfg(baseline.timm_id, allow_unregistered=False)
    if published is None:
        raise ValueError(f"this version of timm does not know {baseline.timm_id}")
    return ImageSpec.of_timm(resolve_data_config(pretrained_cfg=published.to_dict()), size, crop)
