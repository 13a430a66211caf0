"""The rows of tables 1 to 4: which models they contain, and how each is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fetaliqa.lab.baselines import baseline_named, build_baseline
from fetaliqa.lab.baselines.baseline_networks import Strategy
from fetaliqa.lab.paper.paper_study import Study
from fetaliqa.training.recipes import Recipe, Task, changed

Builder = Callable[[Study, Recipe, int], nn.Module]
ENCODER = {"linear": "frozen", "full": "full", "lora": "lora"}  # a strategy in the recipe's words
STRATEGY_LABELS = {"linear": "linear probe", "full": "full", "lora": "LoRA", "frozen": "decoder only"}


@dataclass(frozen=True)
class Row:
    """A model of a table.

    Attributes:
        key: names the row in files and in ``published.json``.
        label: as a reader sees it.
        strategy: what training changes.
        task: what the model answers.
        build: (study, recipe, seed) -> a fresh model; the same seed, the same values.
        baseline: key in ``BASELINES``; None: FetalCLIP.
        changes: of the study's recipe.
    """

    key: str
    label: str
    strategy: str
    task: Task
    build: Builder
    baseline: str | None = None
    changes: tuple[tuple[str, Any], ...] = ()

    def check(self, study: Study) -> None:
        """Check for missing weights before anything is computed.

        Raises:
            WeightsError: when they are missing. timm's hub is accessed later, when the model is built.
        """
        if self.baseline is None:
            study.require_base()
        elif not study.reduced:
            study.weights_of(self.baseline)

    def recipe(self, study: Study) -> Recipe:
        """How the row is trained in a study."""
        return changed(study.recipe(self.task), dict(self.changes))


def baseline_row(key: str, strategy: Strategy | None = None) -> Row:
    """A comparison model, trained by ``strategy`` (None: as in the paper)."""
    baseline = baseline_named(key)
    chosen = strategy or baseline.strategy

    def build(study: Study, _recipe: Recipe, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return build_baseline(
            key,
            strategy=chosen,
            pretrained=not study.reduced,
            reduced=study.reduced,
            as_released=study.as_released,
            weights=None if study.reduced else study.weights_of(key),
        )

    return Row(
        f"{key}-{chosen}",
        baseline.label,
        chosen,
        "classification",
        build,
        key,
        (("encoder", ENCODER[chosen]),),
    )


def fetalclip_row(task: Task, labels: str = "any") -> Row:
    """FetalCLIP with adapters and a head, learning from ``any`` outline or ``optimal`` planes only."""
    short = "seg" if task == "segmentation" else "cls"

    def build(study: Study, recipe: Recipe, seed: int) -> nn.Module:
        return study.require_base().build(recipe, seed)

    return Row(
        f"fetalclip_{short}-{labels}",
        f"FetalCLIP_{short.upper()}",
        "lora",
        task,
        build,
        changes=(("labels", labels),),
    )


TABLE1 = (
    *(baseline_row(key) for key in ("densenet", "efficientnet", "vgg", "swin", "deit", "vit")),
    fetalclip_row("classification"),
    fetalclip_row("segmentation"),
)
TABLE2 = tuple(
    fetalclip_row(task, labels)  # type: ignore[arg-type]
    for labels in ("any", "optimal")
    for task in ("classification", "segmentation")
)
TABLE3 = (
    *(baseline_row(key, strategy) for key in ("densenet", "vit") for strategy in ("linear", "full", "lora")),  # type: ignore[arg-type]
    baseline_row("vit_small", "full"),
)
TABLE4 = (baseline_row("vit"), baseline_row("vit_laion"), fetalclip_row("classification"))
FIG2 = (baseline_row("densenet"), baseline_row("vit"), fetalclip_row("classification"))
FIG3 = fetalclip_row("segmentation")
