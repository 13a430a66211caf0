"""The model card of a bundle made by a training run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from fetaliqa.datasets.labelled_data import LabelledData
from fetaliqa.model import BaseReference, BundleCard, Threshold, TrainingData
from fetaliqa.model.json_records import to_json
from fetaliqa.training.frame_store import FrameStore
from fetaliqa.training.recipes import Recipe
from fetaliqa.training.run_folder import RunRequest
from fetaliqa.training.starting_weights import Base
from fetaliqa.training.trainer import Machine

DATA_LICENCES = {  # of data sets that ask for it
    "acouslic": "trained on ACOUSLIC-AI (CC BY-NC-SA 4.0)",
    "hc18": "trained on HC18 (CC BY 4.0)",
    "studies": "trained on data whose owner sets the terms",
}
PHANTOM_LIMITS = (
    "Trained on synthetic phantom sweeps. Its figures say how well it reads phantoms, not ultrasound of patients."
)
REAL_LIMITS = "Research use. Not validated for any clinical decision."


def licence(base: Base, data: LabelledData) -> str:
    """The licence of a model: its encoder's, and that of the data where required."""
    asked = DATA_LICENCES.get(data.name)
    parts = [base.licence, *([asked] if asked is not None and asked not in base.licence else [])]
    return "; ".join(parts)


def make_card(
    base: Base,
    data: LabelledData,
    request: RunRequest,
    recipe: Recipe,
    train: FrameStore,
    threshold: Threshold,
    metrics: dict[str, Any],
    machine: Machine,
) -> BundleCard:
    """The card of a trained model."""
    synthetic = data.synthetic or base.synthetic
    kind = "included" if recipe.encoder == "full" else base.kind
    counts = train.summary()
    return BundleCard(
        name=request.name,
        version="1.0",
        task=recipe.task,
        architecture=base.architecture
        if recipe.task == "segmentation"
        else replace(base.architecture, decoder=None),
        lora=recipe.lora if recipe.encoder == "lora" else None,
        base=BaseReference(kind, ""),  # type: ignore[arg-type]
        anatomy=data.anatomy.name,
        training_data=TrainingData(
            name="FetalIQA phantom sweeps" if data.synthetic else data.name,
            hash=train.key,
            description=(
                f"{counts['frames']} frames of {counts['cases']} cases, {counts['positive_frames']} with outline; "
                f"computed in {machine.precision_of(recipe)} on {machine.device}; "
                f"recipe {recipe.name}, base {base.name}: {json.dumps(to_json(recipe), sort_keys=True)}"
            ),
        ),
        licence=licence(base, data),
        intended_use="Research on frame selection in fetal ultrasound. Not for any clinical use.",
        limitations=PHANTOM_LIMITS if synthetic else REAL_LIMITS,
        metrics=metrics,
        threshold=threshold,
    )
