"""Training modes of retraining: recipes of ``quick`` and ``full``.

Both fine-tune a trained model in few steps and keep its threshold.

A compact model is trained as a whole in both modes, ``full`` three times as long. Of other models ``quick`` trains
the decoder only, with each frame weighted by its frequency in sweeps: after batches with many positives a model
calls doubtful frames positive.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from fetaliqa.errors import OptionError
from fetaliqa.model import BundleCard
from fetaliqa.model.architecture import BackboneConfig
from fetaliqa.training.recipes import COMPACT, DECODER, FETALIQA, Recipe, changed

_GOING_ON: dict[str, Any] = {
    "batch_size": 16,
    "ema_decay": 0.97,
    "choose_threshold": False,
    "monitor": "val_score",
    "patience": 1000,
    "checked": True,
}
_WEIGHED: dict[str, Any] = {
    "learning_rate": 5e-4,
    "positive_share": 0.25,
    "hard_share": 0.5,
    "sweep_weights": True,
    # batch-norm statistics of the trained decoder are kept: 80 steps see too few frames
    "norm_frames": sys.maxsize,
}
LEAST_CHECKED_EPOCHS = 4  # with fewer epochs, as set by the user, outlines may not be found yet
# epochs are of 20 steps here (``GROUPED_STEPS``)
QUICK = replace(DECODER, name="retrain-quick", epochs=4, **_GOING_ON, **_WEIGHED)
FULL = replace(FETALIQA, name="retrain-full", encoder_rate=0.4, epochs=6, **_GOING_ON, **_WEIGHED)
MODES = {"quick": QUICK, "full": FULL}
COMPACT_MODES = {
    "quick": replace(COMPACT, name="retrain-quick-compact", epochs=14, **_GOING_ON),
    "full": replace(COMPACT, name="retrain-full-compact", epochs=42, **_GOING_ON),
}


def mode_recipe(mode: str, card: BundleCard, settings: dict[str, Any] | None = None) -> Recipe:
    """The recipe of a mode for a bundle.

    Args:
        mode: ``quick`` or ``full``.
        card: of the bundle that is retrained; its adapters' settings are kept.
        settings: recipe fields to change.

    Raises:
        OptionError: for another mode or a wrong field.
    """
    if mode not in MODES:
        raise OptionError(f"mode {mode!r}; it must be one of {', '.join(MODES)}")
    compact = isinstance(card.architecture.vision, BackboneConfig)
    recipe = (COMPACT_MODES if compact else MODES)[mode]
    if card.lora is not None:
        recipe = replace(recipe, lora=card.lora)
    if not settings:
        return recipe
    recipe = changed(recipe, settings)
    if recipe.epochs < LEAST_CHECKED_EPOCHS and "checked" not in settings:
        recipe = replace(recipe, checked=False)
    return recipe
