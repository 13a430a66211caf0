"""Initial weights of a run: FetalCLIP's encoder, the encoder of a bundle, ImageNet, or random values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import nn

from fetaliqa.errors import OptionError
from fetaliqa.model import (
    Architecture,
    Bundle,
    EncoderModel,
    SegmentationModel,
    Threshold,
    build_classification,
    build_segmentation,
    load_architecture,
)
from fetaliqa.model.architecture import BackboneConfig, architecture_names
from fetaliqa.model.bundle_card import BASE_FILE
from fetaliqa.model.tensor_hashes import tensors_sha256
from fetaliqa.registry.model_store import resolve_bundle
from fetaliqa.training.recipes import Recipe

FETALCLIP = "fetalclip"
IMAGENET = "imagenet"
COMPACT = "compact"  # the architecture that starts from ImageNet's weights
SCRATCH = "scratch:"
SPARSE_LOGIT = -3.0  # 5 % of pixels: a third of a balanced batch has an outline, of an eighth of the picture
FETALCLIP_LICENCE = "CC BY-NC 4.0 (builds on the FetalCLIP weights)"


@dataclass
class Base:
    """An initial encoder, and how to build a new model on it.

    Attributes:
        name: as given by the user.
        architecture: of the model.
        kind: of the bundle's base, see ``BaseReference``.
        synthetic: whether the encoder was trained on phantoms.
        weights: its tensors by name; None: random values.
        licence: its terms.
        threshold: of bundles made from it, where the recipe chooses no probability threshold.
    """

    name: str
    architecture: Architecture
    kind: Literal["fetalclip", "included"]
    synthetic: bool
    weights: dict[str, torch.Tensor] | None
    licence: str
    threshold: Threshold = field(default_factory=Threshold)

    def sha256(self) -> str | None:
        """Content hash of the weights; None for random values."""
        return None if self.weights is None else tensors_sha256(self.weights)

    def check(self, recipe: Recipe) -> None:
        """Check that the recipe fits this base.

        Raises:
            OptionError: when the recipe trains only part of a random encoder.
        """
        if self.name.startswith(SCRATCH) and recipe.encoder != "full":
            raise OptionError(
                f"base {self.name!r} is random, and recipe {recipe.name!r} trains its encoder "
                f"{'through adapters only' if recipe.encoder == 'lora' else 'not at all'}; "
                "use --set encoder=full, or another base"
            )

    def build(self, recipe: Recipe, seed: int) -> EncoderModel:
        """A fresh model: the same seed, the same values.

        Raises:
            OptionError: see :meth:`check`.
        """
        self.check(recipe)
        torch.manual_seed(seed)
        scratch = self.name.startswith(SCRATCH)
        weights = self.weights
        if recipe.encoder == "full" and weights is not None:
            # copies: training must not change the weights of the next trial
            weights = {name: tensor.clone() for name, tensor in weights.items()}
        build = build_segmentation if recipe.task == "segmentation" else build_classification
        model: EncoderModel = build(
            self.architecture,
            weights=None if scratch else weights,
            random_init=scratch,
            encoder=recipe.encoder,
            lora=recipe.lora,
        )
        if recipe.loss == "sparse-outline" and isinstance(model, SegmentationModel):
            expect_outlines(model, SPARSE_LOGIT)
        begin_at_prior(model, recipe)
        freeze_unreached(model, recipe)
        return model


def expect_outlines(model: SegmentationModel, logit: float) -> None:
    """Initialise a model to predict few outlined pixels, by the bias of the outline's last layer.

    Without it, small decoders collapsed to empty predictions and never reached a probability of 0.5. This is
    RetinaNet's prior (arXiv 1708.02002).
    """
    nn.init.constant_(cast(torch.Tensor, model.outline_layer.bias), logit)


def begin_at_prior(model: EncoderModel, recipe: Recipe) -> None:
    """Initialise a model to predict the share of outlined pixels in ``recipe.outline_prior``."""
    if recipe.outline_prior is not None and isinstance(model, SegmentationModel):
        share = recipe.outline_prior
        expect_outlines(model, math.log(share / (1 - share)))


def freeze_unreached(model: EncoderModel, recipe: Recipe) -> None:
    """Freeze parameters that the decoder never uses: distributed training would wait for their gradients."""
    if recipe.task == "segmentation":
        for name, parameter in model.visual.named_parameters():
            if name == "proj" or name.startswith("ln_post."):
                parameter.requires_grad_(False)


def open_base(name: str, weights: str | None = None) -> Base:
    """Open the base of a run.

    Args:
        name: ``fetalclip``, ``imagenet`` (of the compact architecture), ``scratch:ARCHITECTURE``, or a bundle
            that includes its encoder.
        weights: FetalCLIP's weights file; None for the imported ones.

    Raises:
        OptionError: when there is no such base, or the bundle does not include its encoder.
    """
    if name == FETALCLIP:
        from fetaliqa.model.fetalclip_weights import load_visual

        architecture = load_architecture(FETALCLIP)
        state, _ = load_visual(weights, architecture.transformer)
        return Base(name, architecture, "fetalclip", False, state, FETALCLIP_LICENCE)
    if name == IMAGENET:
        from fetaliqa.model.backbone import imagenet_state

        architecture = load_architecture(COMPACT)
        assert isinstance(architecture.vision, BackboneConfig)
        return Base(name, architecture, "included", False, imagenet_state(architecture.vision), "Apache-2.0")
    if name.startswith(SCRATCH):
        architecture = load_architecture(name.removeprefix(SCRATCH))
        return Base(name, architecture, "included", False, None, "Apache-2.0")
    if name in architecture_names() and name != "demo":
        raise OptionError(f"base {name!r} is an architecture without weights; use {SCRATCH}{name} to start anew")
    bundle = Bundle.open(resolve_bundle(name))
    if bundle.card.base.kind != "included":
        raise OptionError(f"{name}: this bundle has no encoder of its own; use --base {FETALCLIP}")
    bundle.card.check_trainable(name)
    architecture = bundle.card.architecture
    if architecture.decoder is None:
        raise OptionError(f"{name}: a classifier's bundle names no decoder; use a segmentation bundle as the base")
    state = bundle.tensors(BASE_FILE)
    synthetic = bundle.card.training_data.synthetic
    return Base(name, architecture, "included", synthetic, state, bundle.card.licence)
