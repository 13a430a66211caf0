"""Runs the trials of a training run in the folder described in ``run_folder``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fetaliqa.atomic import write_json
from fetaliqa.datasets.labelled_data import LabelledData
from fetaliqa.datasets.splits import Split
from fetaliqa.model import EncoderModel, save_bundle
from fetaliqa.out_of_memory import free_memory
from fetaliqa.training.encoder_features import FeatureStore, can_cache, prepare_features
from fetaliqa.training.frame_store import FrameStore, StoreRequest, prepare_frames
from fetaliqa.training.memory_watch import Report, memory_watched
from fetaliqa.training.recipes import Recipe
from fetaliqa.training.reference_update import widen_reference
from fetaliqa.training.run_card import make_card
from fetaliqa.training.run_folder import RunRequest, main_process
from fetaliqa.training.score_threshold import choose_threshold
from fetaliqa.training.stall_recovery import fit_checked
from fetaliqa.training.starting_weights import Base
from fetaliqa.training.trainer import LAST, Machine, fit_model

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback

SUMMARY = "metrics.json"


def store_requests(recipe: Recipe, size: int, seed: int) -> tuple[StoreRequest, StoreRequest]:
    """Which frames a recipe trains on and which it validates on."""
    train = StoreRequest(
        size,
        recipe.labels,
        recipe.measured_sweeps_only,
        recipe.frame_step,
        recipe.keep_positives,
        recipe.copies,
        seed if recipe.copies else 0,
        recipe.black_slots,
    )
    return train, replace(train, copies=0, seed=0)


def execute(
    folder: Path,
    data: LabelledData,
    base: Base,
    request: RunRequest,
    recipe: Recipe,
    split: Split,
    machine: Machine,
    report: Report = lambda *_: None,
    processes: int = 1,
    callbacks: tuple[Callback, ...] = (),
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run all trials that are not done yet; a killed trial is resumed.

    Returns:
        What ``metrics.json`` holds: the validation figures of each trial, their mean and spread.

    Raises:
        TrainingError, OptionError, SweepError, WeightsError: see the parts.
    """
    with memory_watched(report) as report:
        size = base.architecture.vision.image_size
        wanted, checked = store_requests(recipe, size, request.seed)
        frames = Path(request.frames)

        def prepare(stage: str, part: str, store: StoreRequest) -> FrameStore:
            report(stage, 0, len(split.part(part)))
            return prepare_frames(
                data,
                split.part(part),
                store,
                frames,
                processes=processes,
                progress=lambda done, total: report(stage, done, total),
            )

        train = prepare("prepare training frames", "train", wanted)
        validation = prepare("prepare validation frames", "validation", checked)
        trials = []
        for number in range(request.trials):
            trial = folder / f"trial-{number}"
            if not (trial / SUMMARY).is_file():
                model = base.build(recipe, request.seed + number)
                features: list[FeatureStore | None] = [None, None]
                if request.feature_cache and can_cache(recipe):
                    features = [_cached(model, store, frames, machine, report) for store in (train, validation)]
                seed = request.seed + number
                _trial(
                    *(trial, model, base, data, request, recipe, train, validation, seed, machine, features),
                    *(callbacks, say, report),
                )
            if (trial / SUMMARY).is_file():
                trials.append(json.loads((trial / SUMMARY).read_text(encoding="utf-8")))
        if not main_process():
            return {}
        summary = {
            "trials": trials,
            "train": train.summary(),
            "validation": validation.summary(),
            **_spread(trials),
        }
        write_json(folder / SUMMARY, summary)
        return summary


def _cached(
    model: EncoderModel, train: FrameStore, folder: Path, machine: Machine, report: Report
) -> FeatureStore:
    def progress(done: int, total: int) -> None:
        report("compute encoder features", done, total)

    progress(0, len(train.frames))
    features = prepare_features(model, train, folder, device=machine.device, progress=progress)
    progress(len(train.frames), len(train.frames))
    return features


def _trial(
    folder: Path,
    model: EncoderModel,
    base: Base,
    data: LabelledData,
    request: RunRequest,
    recipe: Recipe,
    train: FrameStore,
    validation: FrameStore,
    seed: int,
    machine: Machine,
    features: list[FeatureStore | None],
    callbacks: tuple[Callback, ...],
    say: Callable[[str], None],
    report: Report,
) -> None:
    def fit(used: Recipe) -> tuple[EncoderModel, dict[str, Any]]:
        free_memory()  # of an earlier attempt or trial, loader processes included
        # the given model is for the original recipe, and untrained only once
        trained = ready.pop() if ready and used is recipe else base.build(used, seed)
        scores = fit_model(
            trained,
            used,
            train,
            validation,
            folder,
            seed=seed,
            machine=machine,
            features=features[0],
            validation_features=features[1],
            callbacks=callbacks,
        )
        report("check the trained model", 0, 1)
        return trained, scores

    ready = [model]
    if recipe.checked:
        # several processes would have to agree on a second attempt
        alone = machine.devices * machine.num_nodes == 1
        if not alone:
            recipe = replace(recipe, checked=False)  # without a second attempt it runs to its end
        model, recipe, scores = fit_checked(fit, recipe, train.frames, folder, again=alone, say=say)
    else:
        model, scores = fit(recipe)
    report("check the trained model", 1, 1)
    if not main_process():
        return
    model.eval()
    computed = machine.described(recipe)
    if "frames_at_once" in scores:
        computed["frames_at_once"] = scores.pop("frames_at_once")
    if recipe.encoder == "full":
        widen_reference(model, train.frames)
    threshold, by_threshold = base.threshold, dict[str, float]()
    free_memory()
    if recipe.choose_threshold:
        report("choose threshold", 0, 1)
        chosen, by_threshold = choose_threshold(model, validation.frames, device=machine.device)
        threshold = replace(threshold, frame_probability=chosen)
        report("choose threshold", 1, 1)
    report("save the model", 0, 1)
    model.cpu()
    card = make_card(base, data, request, recipe, train, threshold, {**scores, **by_threshold}, machine)
    if (folder / "bundle").exists():  # saved, but the run was killed before it was recorded
        shutil.rmtree(folder / "bundle")
    save_bundle(model, card, folder / "bundle")
    write_json(folder / SUMMARY, {"seed": seed, "threshold": threshold.frame, **scores, "computed": computed})
    # needed only for resuming
    (folder / "checkpoints" / LAST).unlink(missing_ok=True)
    report("save the model", 1, 1)


def _spread(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation over trials of each figure that all of them have."""
    result: dict[str, Any] = {}
    for name in trials[0] if trials else {}:
        values = [trial[name] for trial in trials if isinstance(trial.get(name), int | float)]
        if name == "seed" or len(values) < len(trials):
            continue
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        result[name] = {
            "mean": round(float(np.mean(values)), 6),
            "std": None if spread is None else round(spread, 6),
        }
    return result
