"""Trials: trains and evaluates a row's model with each seed; finished trials are reused."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import nn

from fetaliqa.atomic import write_json
from fetaliqa.errors import BundleError, OptionError, TrainingError, WeightsError
from fetaliqa.evaluation.model_evaluation import MEASURED_SWEEPS
from fetaliqa.file_provenance import user_hashes
from fetaliqa.lab.paper.held_out_frames import judged_tables, table_figures
from fetaliqa.lab.paper.paper_study import Study, without_folders
from fetaliqa.lab.paper.step_budget import Budget
from fetaliqa.lab.paper.table_rows import Row
from fetaliqa.lab.paper.weight_changes import load_trained, save_trained
from fetaliqa.model import Threshold, trainable_count
from fetaliqa.training.frame_store import FrameStore
from fetaliqa.training.recipes import Recipe
from fetaliqa.training.score_threshold import choose_threshold
from fetaliqa.training.trainer import fit_model

SCHEMA = 2
HALF, CHOSEN = "half", "chosen"  # frames called at probability 0.5, or at the one chosen on validation frames
EXPECTED = (WeightsError, OptionError, TrainingError, BundleError)  # reasons why a row cannot be run


@dataclass(frozen=True)
class Trial:
    """One training of a model.

    Attributes:
        seed: of weights, batches and dropout.
        recipe: its training recipe.
        parameters: trainable scalars of the model that ran.
        fit: the trainer's validation figures, ``epochs_run`` and ``steps_run``.
        threshold: chosen on the validation frames.
        figures: by decision (``half``, ``chosen``), protocol and figure, on the test frames.
        seconds: of training and evaluation.
    """

    seed: int
    recipe: dict[str, Any]
    parameters: int
    fit: dict[str, Any]
    threshold: float
    figures: dict[str, dict[str, dict[str, float | None]]]
    seconds: float

    def figure(self, name: str, protocol: str = MEASURED_SWEEPS, decision: str | None = None) -> float | None:
        """A figure on the test frames; None where it is undefined. By default decided as the recipe does."""
        decision = decision or (CHOSEN if self.recipe["choose_threshold"] else HALF)
        return self.figures[decision].get(protocol, {}).get(name)


@dataclass(frozen=True)
class RowResult:
    """A row's trials, and the reason for missing ones."""

    row: Row
    recipe: Recipe | None
    trials: tuple[Trial, ...]
    reason: str | None = None

    def values(self, name: str, protocol: str = MEASURED_SWEEPS) -> list[float | None]:
        """A figure of each trial."""
        return [trial.figure(name, protocol) for trial in self.trials]


def run_row(
    study: Study, row: Row, *, recipe: Recipe | None = None, steps: int | None = None, keep: bool = False
) -> RowResult:
    """Train and evaluate a row's model with each seed of the study.

    Args:
        study: data, seeds, folder.
        row: the model.
        recipe: in place of the row's own.
        steps: optimiser steps to train; None: as many as the recipe's epochs are.
        keep: keep the first trial's weights, for pictures.

    Returns:
        The trials; incomplete and with a reason when weights are missing, an option excludes the row, or training
        failed.

    Raises:
        SweepError, NotFoundError: when the data cannot be read.
    """
    trials = []
    try:
        recipe = recipe or row.recipe(study)
        for seed in study.seeds:
            trial = run_trial(study, row, recipe, seed, steps, keep=keep and seed == study.seeds[0])
            # the trial may be of a recipe that differs only in the choice of the threshold
            trials.append(replace(trial, recipe=recipe.to_json()))
    except EXPECTED as problem:
        return RowResult(row, recipe, tuple(trials), without_folders(str(problem)))
    return RowResult(row, recipe, tuple(trials))


def run_trial(
    study: Study, row: Row, recipe: Recipe, seed: int, steps: int | None = None, *, keep: bool = False
) -> Trial:
    """One trial, from the work folder if finished.

    Several processes may ask for the same trial: one runs it, the others wait.

    Raises:
        FetalIQAError: when weights or data are missing, or training fails.
    """
    row.check(study)
    stores = study.stores(recipe)
    stem = trial_name(study, row, recipe, seed, stores, steps)
    result, weights = study.work / "trials" / f"{stem}.json", study.work / "models" / f"{stem}.safetensors"
    result.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(result) + ".lock"):
        if not result.is_file() or (keep and not weights.is_file()):
            if study.only_done:
                raise OptionError(f"seed {seed} was not trained yet; run the same command without --only-done")
            model = row.build(study, recipe, seed)
            write_json(
                result, _train(study, row, model, recipe, seed, stores, steps, stem, weights if keep else None)
            )
    values = json.loads(result.read_text(encoding="utf-8"))
    return Trial(**{name: values[name] for name in Trial.__dataclass_fields__})


def trial_name(
    study: Study, row: Row, recipe: Recipe, seed: int, stores: tuple[FrameStore, FrameStore], steps: int | None
) -> str:
    """A unique name: row, seed, and a hash of all settings that affect the result."""
    # the choice of the threshold does not change the training, and both thresholds are evaluated
    trained = replace(recipe, choose_threshold=False).decided()
    start = study.base_key if row.baseline is None else _weights_key(study, row)
    decided = [
        SCHEMA,
        row.key,
        trained,
        seed,
        steps,
        [store.key for store in stores],
        study.held_out().store.key,
        start,
        study.reduced,
        study.as_released,
        study.machine.precision_of(recipe),
    ]
    digest = hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
    return f"{row.key}-{seed}-{digest[:16]}"


def _weights_key(study: Study, row: Row) -> list[Any]:
    assert row.baseline is not None
    file = None if study.reduced else study.weights_of(row.baseline)
    return [] if file is None else [user_hashes().sha256(file)]


def _train(
    study: Study,
    row: Row,
    model: nn.Module,
    recipe: Recipe,
    seed: int,
    stores: tuple[FrameStore, FrameStore],
    steps: int | None,
    stem: str,
    weights: Path | None,
) -> dict[str, Any]:
    started = time.monotonic()
    parameters = trainable_count(model)
    stage = f"{row.label} ({row.strategy}, {recipe.name}, seed {seed})"
    per_epoch = max(1, len(stores[0].frames) // min(recipe.batch_size, len(stores[0].frames)))
    total = per_epoch * recipe.epochs if steps is None else steps
    folder = study.work / "fits" / stem
    fit = fit_model(
        model,
        recipe,
        *stores,
        folder,
        seed=seed,
        machine=study.machine,
        callbacks=(Budget(total, lambda done, count: study.report(f"train {stage}", done, count)),),
    )
    threshold, _ = choose_threshold(model, stores[1].frames, device=study.machine.device)
    tables = judged_tables(
        model,
        study.held_out(),
        (Threshold(), Threshold(frame_probability=threshold)),
        recipe.labels,
        device=study.machine.device,
        progress=lambda done, count: study.report(f"test {stage}", done, count),
    )
    masks = recipe.task == "segmentation"
    if weights is not None:
        save_trained(model, weights)
    shutil.rmtree(folder)
    return {
        "schema": SCHEMA,
        "row": row.key,
        "label": row.label,
        "strategy": row.strategy,
        "seed": seed,
        "recipe": recipe.to_json(),
        "parameters": parameters,
        "fit": fit,
        "threshold": threshold,
        "figures": {name: table_figures(table, masks=masks) for name, table in zip((HALF, CHOSEN), tables)},
        "seconds": round(time.monotonic() - started, 1),
    }


def trained_model(study: Study, row: Row) -> tuple[nn.Module, Trial]:
    """The first trial's model in eval mode on the CPU, trained now if necessary.

    Raises:
        FetalIQAError: as ``run_trial``.
    """
    recipe, seed = row.recipe(study), study.seeds[0]
    trial = run_trial(study, row, recipe, seed, keep=True)
    model = row.build(study, recipe, seed)
    stem = trial_name(study, row, recipe, seed, study.stores(recipe), None)
    load_trained(model, study.work / "models" / f"{stem}.safetensors")
    return model.to(torch.device("cpu")).eval(), trial


def known_trials(study: Study, row: Row) -> tuple[Trial, ...]:
    """The row's finished trials; nothing is trained."""
    try:
        recipe = row.recipe(study)
        stores = study.stores(recipe)
        names = [trial_name(study, row, recipe, seed, stores, None) for seed in study.seeds]
    except EXPECTED:
        return ()
    files = [study.work / "trials" / f"{name}.json" for name in names]
    trials = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    return tuple(Trial(**{name: one[name] for name in Trial.__dataclass_fields__}) for one in trials)
