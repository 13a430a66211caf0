"""Warm start: training that continues from a bundle's own adapters and decoder."""

from __future__ import annotations

from dataclasses import dataclass

from fetaliqa.errors import OptionError
from fetaliqa.model import Bundle, EncoderModel
from fetaliqa.training.recipes import Recipe
from fetaliqa.training.starting_weights import Base, begin_at_prior, freeze_unreached


@dataclass
class WarmStart(Base):
    """A bundle to continue from.

    Attributes:
        bundle: whose adapters and head are trained further.
        foundation: FetalCLIP's weights file, for a bundle that builds on them; None for the imported ones.
    """

    bundle: Bundle | None = None
    foundation: str | None = None

    def sha256(self) -> str | None:
        """The bundle's fingerprint: it covers encoder, adapters and head."""
        assert self.bundle is not None
        return self.bundle.fingerprint

    def build(self, recipe: Recipe, seed: int) -> EncoderModel:
        """The bundle's model, with the parts trainable that the recipe trains; ``seed`` is for fresh adapters.

        Raises:
            OptionError: when the recipe is for another task, or other adapters than the bundle has.
            BundleError, WeightsError: when the bundle cannot be loaded.
        """
        import torch

        assert self.bundle is not None
        card = self.bundle.card
        if recipe.task != card.task:
            raise OptionError(
                f"{self.name}: a bundle for {card.task}; recipe {recipe.name!r} is for {recipe.task}"
            )
        if recipe.encoder == "lora" and card.lora is not None and recipe.lora != card.lora:
            raise OptionError(
                f"{self.name}: its adapters are {card.lora}; recipe {recipe.name!r} has {recipe.lora}"
            )
        torch.manual_seed(seed)
        model = self.bundle.load_model(weights=self.foundation, merge=False)
        if recipe.encoder == "lora" and model.lora is None:
            model.add_adapters(recipe.lora)
        if recipe.encoder == "frozen":
            model.visual.requires_grad_(False)
        begin_at_prior(model, recipe)
        freeze_unreached(model, recipe)
        return model


def warm_start(bundle: Bundle, name: str, weights: str | None = None) -> WarmStart:
    """A base that continues from a segmentation bundle.

    Raises:
        OptionError: when it is a classifier's, or cannot be trained.
    """
    card = bundle.card
    if card.task != "segmentation":
        raise OptionError(f"{name}: a bundle for {card.task}; only segmentation models are retrained")
    card.check_trainable(name)
    synthetic = card.training_data.synthetic
    return WarmStart(
        name, card.architecture, card.base.kind, synthetic, None, card.licence, card.threshold, bundle, weights
    )
