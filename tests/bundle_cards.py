"""A card for a model made in a test: complete, and plain about meaning nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fetaliqa.model import BaseReference, BundleCard, EncoderModel, TrainingData


def a_card(model: EncoderModel, **changes: Any) -> BundleCard:
    """A card that fits ``model``; ``changes`` replace its fields."""
    architecture = model.architecture
    if model.task == "classification":
        architecture = replace(architecture, decoder=None)
    fields: dict[str, Any] = {
        "name": "random",
        "version": "1",
        "task": model.task,
        "architecture": architecture,
        "lora": model.lora,
        "base": BaseReference("included", "0" * 64),
        "anatomy": "abdomen",
        "training_data": TrainingData("noise", "none", "random numbers"),
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "limitations": "knows nothing",
    }
    return BundleCard(**{**fields, **changes})
