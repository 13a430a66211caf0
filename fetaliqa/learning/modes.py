"""How retraining trains: ``quick`` and ``full``.

Both go on from a trained model, so their learning rates are lower than those of the recipes they are made of, and
their steps few. Each frame weighs as much as such frames do in sweeps: a model that saw many positives in its
batches takes doubtful frames for positives, and its probabilities would no longer fit the published threshold,
which is kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fetaliqa.errors import OptionError
from fetaliqa.models import BundleCard
from fetaliqa.training.recipe import DECODER, FETALIQA, Recipe, changed

_GOING_ON: dict[str, Any] = {
    "learning_rate": 5e-4,
    "batch_size": 16,
    "positive_share": 0.25,
    "hard_share": 0.5,
    "sweep_weights": True,
    "ema_decay": 0.97,
    "choose_threshold": False,
}
# epochs are of 20 steps here (``GROUPED_STEPS``)
QUICK = replace(DECODER, name="retrain-quick", epochs=4, **_GOING_ON)
FULL = replace(FETALIQA, name="retrain-full", muon_learning_rate=2e-4, epochs=6, patience=1000, **_GOING_ON)
MODES = {"quick": QUICK, "full": FULL}


def mode_recipe(mode: str, card: BundleCard, settings: dict[str, Any] | None = None) -> Recipe:
    """The recipe of a mode for a bundle.

    Args:
        mode: ``quick`` (decoder on cached features of the frozen encoder) or ``full`` (adapters and decoder).
        card: of the bundle that is retrained; its adapters' settings are kept.
        settings: recipe fields to change.

    Raises:
        OptionError: for another mode or a wrong field.
    """
    if mode not in MODES:
        raise OptionError(f"mode {mode!r}; it must be one of {', '.join(MODES)}")
    recipe = MODES[mode]
    if card.lora is not None:
        recipe = replace(recipe, lora=card.lora)
    return changed(recipe, settings) if settings else recipe
