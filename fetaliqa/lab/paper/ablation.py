"""Ablation of the training recipe, and comparison of recipes, with equal numbers of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from fetaliqa.errors import OptionError
from fetaliqa.evaluation.model_evaluation import ALL_SWEEPS, MEASURED_SWEEPS
from fetaliqa.lab.paper import NUMBERING_NOTE
from fetaliqa.lab.paper.figure_table import NOT_RUN, Cell, Table, figure_cell
from fetaliqa.lab.paper.paper_study import REDUCED_RECIPE_SETTINGS, Study
from fetaliqa.lab.paper.table_rows import Row, fetalclip_row
from fetaliqa.lab.paper.trial_runs import RowResult, run_row
from fetaliqa.training.recipes import FETALIQA, PAPER, RELEASED_CODE, Recipe, changed

# Fields that belong together; "epochs" and "patience" follow from the equal number of steps.
GROUPS: dict[str, tuple[str, ...]] = {
    "augmentation": ("online", "copies"),
    "loss": ("loss", "sweep_weights"),
    "sampling": ("sampling", "positive_share", "hard_share"),
    "thinning": ("frame_step", "keep_positives"),
    "optimiser": ("learning_rate", "encoder_rate", "weight_decay"),
    "schedule": ("warmup_share", "schedule"),
    "averaging": ("ema_decay",),
    "clipping": ("clip_norm",),
    "selection": ("monitor",),
    "threshold": ("choose_threshold",),
    "sweeps": ("measured_sweeps_only",),
    "slots": ("black_slots",),
    "encoder": ("encoder", "lora"),
    "labels": ("labels",),
    "precision": ("precision", "batch_size"),
}
# the last three are for going on from a trained model, or for a convolutional encoder
FREE = {"name", "task", "epochs", "patience", "checked", "norm_frames", "outline_prior"}


def ablations(recipe: Recipe = FETALIQA, against: Recipe = PAPER) -> dict[str, Recipe]:
    """A recipe with one part set back to another recipe's, for each part in which the two differ.

    Returns:
        By the part's name (a key of ``GROUPS``). All parts together make ``against``, but for its name and epochs.

    Raises:
        OptionError: when the recipes are for different tasks.
    """
    if recipe.task != against.task:
        raise OptionError(f"recipe {recipe.name!r} is for {recipe.task}, {against.name!r} for {against.task}")
    recipes = {}
    for part in GROUPS:
        changed_recipe = without(recipe, part, against)
        if changed_recipe.decided() != recipe.decided():
            recipes[part] = changed_recipe
    return recipes


def without(recipe: Recipe, parts: str, against: Recipe = PAPER) -> Recipe:
    """A recipe with some parts, keys of ``GROUPS`` joined by ``+``, set back to another recipe's."""
    values = {name: getattr(against, name) for part in parts.split("+") for name in GROUPS[part]}
    return replace(recipe, **values, name=f"{recipe.name} without its {parts.replace('+', ', ')}")


def described_change(recipe: Recipe, start: Recipe) -> str:
    """The fields of a recipe that differ from another's, as a reader sees them."""
    differing = [
        f"{field.name} {_short(getattr(recipe, field.name))}"
        for field in fields(Recipe)
        if field.name not in FREE and getattr(recipe, field.name) != getattr(start, field.name)
    ]
    return ", ".join(differing) or "-"


def _short(value: Any) -> str:
    return str(value) if value is None or isinstance(value, int | float | str) else "on"


def recipes_table(study: Study) -> tuple[Table, list[RowResult]]:
    """Train the segmentation model by each recipe, over the study's seeds and with equally many steps.

    The number of steps is the paper's: its epochs over its frames in three versions. Other recipes use other
    frames, so their epochs follow from the steps, and the last epoch may end early.
    """
    settings = {**(REDUCED_RECIPE_SETTINGS if study.reduced else {}), **study.settings}
    paper, released, own = (changed(recipe, settings) for recipe in (PAPER, RELEASED_CODE, FETALIQA))
    row = fetalclip_row("segmentation")
    if study.parts is None:
        left_out = ablations(own, paper)
    else:
        left_out = {parts: without(own, parts, paper) for parts in study.parts}
    recipes = {"paper": paper, "released-code": released, "fetaliqa": own, **left_out}
    results: list[RowResult] = []
    try:
        steps = paper_steps(study, paper)
    except OptionError as problem:
        return _table(study, [RowResult(row, None, (), str(problem))], own, 0), []
    for done, (name, recipe) in enumerate(recipes.items()):
        study.report("recipes: rows", done, len(recipes))
        results.append(_run(study, replace(row, label=name), recipe, steps))
    study.report("recipes: rows", len(recipes), len(recipes))
    return _table(study, results, own, steps), results


def paper_steps(study: Study, paper: Recipe) -> int:
    """Optimiser steps of the paper's recipe on the study's frames."""
    return paper.epochs * _per_epoch(study, paper)


def _per_epoch(study: Study, recipe: Recipe) -> int:
    frames = len(study.stores(recipe)[0].frames)
    return max(1, frames // min(recipe.batch_size, frames))


def _run(study: Study, row: Row, recipe: Recipe, steps: int) -> RowResult:
    epochs = -(-steps // _per_epoch(study, recipe))
    # patience beyond the last epoch: no early stopping
    return run_row(study, row, recipe=replace(recipe, epochs=epochs, patience=epochs + 1), steps=steps)


def _table(study: Study, results: Sequence[RowResult], own: Recipe, steps: int) -> Table:
    columns = {
        "recipe": "recipe",
        "changed": "against fetaliqa",
        "f1": f"F1, measured sweeps, {study.ours}",
        "f1_all": f"F1, all sweeps, {study.ours}",
        "gain": "F1, all sweeps, minus fetaliqa's (same seeds)",
        "precision_all": "precision, all sweeps",
        "recall_all": "recall, all sweeps",
        "ap_all": "AP, all sweeps",
        "dice_all": "micro Dice, all sweeps",
        "positive_dice": "mean Dice of positive frames, all sweeps",
        "frames": "training frames",
        "positives": "of them with outline",
        "parameters": "parameters of what ran",
        "steps": "steps",
        "passes": "epochs begun",
        "seconds": "seconds per trial",
        "reason": "why not run",
    }
    reference = next((one for one in results if one.row.label == "fetaliqa"), None)
    return Table(
        "recipes",
        "Recipes and ablations",
        columns,
        (
            ("changed", "f1", "f1_all", "gain"),
            ("precision_all", "recall_all", "ap_all", "dice_all", "positive_dice"),
            ("frames", "positives", "parameters", "steps", "passes", "seconds"),
        ),
        tuple(_cells(study, one, own, reference, columns) for one in results),
        {_name(one): one.reason for one in results if one.reason is not None},
        (
            NUMBERING_NOTE,
            f"Every recipe: FetalCLIP_SEG's model, {steps} steps of {own.batch_size} frames, {len(study.seeds)} "
            "seeds. The steps are those of the paper's epochs over its frames in three versions; recipes with "
            "other frames see each of theirs more or less often, and their last epoch may end early.",
            "Below the three recipes: fetaliqa with the named parts set back to the paper's.",
            "Decided at 0.5, or at the threshold chosen on validation frames where the recipe says so.",
        ),
    )


def _name(result: RowResult) -> str:
    named = result.row.label in ("paper", "released-code", "fetaliqa")
    return result.row.label if named else f"without its {result.row.label.replace('+', ', ')}"


def _cells(
    study: Study, result: RowResult, own: Recipe, reference: RowResult | None, columns: dict[str, str]
) -> dict[str, Cell]:
    cells = {"recipe": Cell(_name(result)), "reason": Cell(result.reason or "-")}
    if result.recipe is not None:
        cells["changed"] = Cell(described_change(result.recipe, own))
    if not result.trials:
        return cells | {key: Cell(NOT_RUN) for key in columns if key not in cells}
    cells["f1"] = figure_cell(result.values("f1", MEASURED_SWEEPS))
    shown = {
        "f1_all": "f1",
        "precision_all": "precision",
        "recall_all": "recall",
        "ap_all": "average_precision",
        "dice_all": "micro_dice",
        "positive_dice": "positive_dice",
    }
    cells |= {key: figure_cell(result.values(name, ALL_SWEEPS)) for key, name in shown.items()}
    if reference is not None and reference.trials and reference is not result:
        pairs = zip(result.values("f1", ALL_SWEEPS), reference.values("f1", ALL_SWEEPS))
        gaps = [None if one is None or two is None else one - two for one, two in pairs]
        gain = figure_cell(gaps)
        cells["gain"] = replace(gain, text=gain.text if gain.mean is None or gain.mean < 0 else f"+{gain.text}")
    first = result.trials[0]
    if result.recipe is not None:
        counts = study.stores(result.recipe)[0].summary()
        cells["frames"] = Cell(f"{counts['frames']:,}", counts["frames"])
        cells["positives"] = Cell(f"{counts['positive_frames']:,}", counts["positive_frames"])
    cells["parameters"] = Cell(f"{first.parameters:,}", first.parameters)
    cells["steps"] = Cell(str(first.fit["steps_run"]))
    cells["passes"] = Cell(str(result.recipe.epochs if result.recipe is not None else "-"))
    cells["seconds"] = figure_cell([trial.seconds for trial in result.trials], 0)
    return cells
