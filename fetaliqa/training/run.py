"""A training run: one folder with everything that decided it and everything it made.

run.json, recipe.json, split.json, data.json, environment.json      what was asked, of what, with what
trial-0/bundle/, metrics.json, checkpoints/, logs/, tensorboard/    one independent trial
metrics.json                                                        mean and spread over the trials
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fetaliqa.atomic import write_json
from fetaliqa.datasets.labelled import LabelledData
from fetaliqa.datasets.splits import Split, leak_report, read_split, write_split
from fetaliqa.errors import OptionError
from fetaliqa.models import BaseReference, BundleCard, EncoderModel, Threshold, TrainingData, save_bundle
from fetaliqa.models.naming import valid_name
from fetaliqa.models.records import from_json, to_json
from fetaliqa.training.base import Base
from fetaliqa.training.environment import environment
from fetaliqa.training.familiar import widen_reference
from fetaliqa.training.features import FeatureStore, can_cache, prepare_features
from fetaliqa.training.recipe import Recipe, recipe_from_json
from fetaliqa.training.robust import fit_checked
from fetaliqa.training.store import FrameStore, StoreRequest, prepare_frames
from fetaliqa.training.threshold import choose_threshold
from fetaliqa.training.trainer import LAST, Machine, fit_model

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback

SCHEMA = 1
SUMMARY = "metrics.json"
DATA_LICENCES = {  # of data sets that ask for it
    "acouslic": "trained on ACOUSLIC-AI (CC BY-NC-SA 4.0)",
    "hc18": "trained on HC18 (CC BY 4.0)",
    "studies": "trained on data whose owner sets the terms",
}
PHANTOM_LIMITS = (
    "Trained on synthetic phantom sweeps. Its figures say how well it reads phantoms, not ultrasound of patients."
)
REAL_LIMITS = "Research use. Not validated for any clinical decision."

Report = Callable[[str, int, int], None]  # stage, done, in all


@dataclass(frozen=True)
class RunRequest:
    """What was asked for, beside recipe and split.

    Attributes:
        data: folder of the data set.
        kind: of the data set, see ``open_labelled``.
        base: see ``open_base``.
        weights: FetalCLIP's weights file; None for the imported ones.
        trials: independent trials, each with a fresh model and seed.
        seed: of the first trial; the next have the numbers after it.
        name: of the bundles.
        feature_cache: compute a frozen encoder's features once, where that is exact.
        frames: folder that prepared frames and features are kept in.
        anatomy: what is outlined, where the data set does not say so itself.
    """

    data: str
    kind: str
    base: str
    weights: str | None
    trials: int
    seed: int
    name: str
    feature_cache: bool
    frames: str
    anatomy: str | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if not 1 <= self.trials <= 100:
            raise ValueError(f"trials is {self.trials}; 1 to 100 is accepted")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; 0 or more is needed")
        if not valid_name(self.name):
            raise ValueError(
                f"the bundles' name is {self.name!r}; letters, digits, '.', '_' and '-' are accepted: give --name"
            )


def main_process() -> bool:
    """Whether this is the process that writes, of those that train together."""
    from lightning.fabric.plugins.environments import SLURMEnvironment

    def number(name: str) -> int:
        return int(os.environ.get(name, "0"))

    if "RANK" in os.environ:  # torchrun
        return number("RANK") == 0
    if "LOCAL_RANK" not in os.environ and SLURMEnvironment.detect():
        return number("SLURM_PROCID") == 0
    # started by Lightning: an interactive SLURM job hands its own SLURM_PROCID to every process
    return number("LOCAL_RANK") == 0 and number("NODE_RANK") == 0


def start_run(
    folder: Path, request: RunRequest, recipe: Recipe, split: Split, data: LabelledData, base: Base
) -> None:
    """Make the run's folder and record what was asked for.

    Raises:
        OptionError: when the folder exists, or the split has no case to train or to validate on.
    """
    for part in ("train", "validation"):
        if not split.part(part):
            raise OptionError(
                f"split {split.name!r} has no {part} case; label more cases, or give another --split"
            )
    if not main_process():
        return
    if folder.exists():
        raise OptionError(
            f"{folder} exists already; choose another folder with --out, or go on with --resume {folder}"
        )
    folder.mkdir(parents=True)
    write_json(folder / "recipe.json", recipe.to_json())
    write_split(folder / "split.json", split)
    write_json(folder / "environment.json", environment())
    leaks = leak_report(split, data.entries())
    described = {
        "name": data.name,
        "synthetic": data.synthetic,
        "anatomy": data.anatomy.name,
        "sha256": data.fingerprint(),
        "base_sha256": base.sha256(),
        "labels": recipe.labels,
        "masks": "filled",
        "cases": {part: len(split.part(part)) for part in ("train", "validation", "test")},
        "leaks": leaks,
    }
    write_json(folder / "data.json", described)
    write_json(folder / "run.json", asdict(request))  # last: a folder with it is complete enough to go on


def remove_unused(folder: Path) -> None:
    """Remove a run's folder in which nothing was trained yet, so that its name can be used again."""
    if not any(folder.glob("trial-*/checkpoints/*")):
        shutil.rmtree(folder, ignore_errors=True)


def open_run(folder: Path) -> tuple[RunRequest, Recipe, Split]:
    """What a run's folder says was asked for.

    Raises:
        OptionError: when it is not a run's folder.
    """
    values = {}
    for name in ("run", "recipe"):
        file = folder / f"{name}.json"
        try:
            values[name] = json.loads(file.read_text(encoding="utf-8"))
        except OSError:
            raise OptionError(f"{folder}: no {file.name} in it, so this is not the folder of a run") from None
        except ValueError as problem:
            raise OptionError(f"{file}: not readable JSON ({problem})") from None
    asked = values["run"]
    if isinstance(asked, dict):
        asked = {"anatomy": None, **asked}  # which runs of before do not name
    request = from_json(RunRequest, asked, str(folder / "run.json"), OptionError)
    return (
        request,
        recipe_from_json(values["recipe"], str(folder / "recipe.json")),
        read_split(folder / "split.json"),
    )


def check_unchanged(folder: Path, data: LabelledData, base: Base) -> None:
    """Refuse to go on with a run on other data or from other weights than it began with.

    Raises:
        OptionError: saying which of them changed.
    """
    file = folder / "data.json"
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))
        recorded = {name: recorded[name] for name in ("sha256", "base_sha256")}
    except (OSError, ValueError, KeyError, TypeError):
        raise OptionError(
            f"{file}: missing or damaged, so whether the data are still the same cannot be told; start a new run"
        ) from None
    if recorded["sha256"] != data.fingerprint():
        raise OptionError(
            f"{folder}: images or labels of the data set changed since this run began; start a new run"
        )
    if recorded["base_sha256"] != base.sha256():
        raise OptionError(
            f"{folder}: base {base.name!r} has other weights than when this run began; start a new run"
        )


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
    """Run all trials that are not done yet; what a killed run left is gone on with.

    Returns:
        What ``metrics.json`` holds: the validation figures of each trial, their mean and spread.

    Raises:
        TrainingError, OptionError, SweepError, WeightsError: see the parts.
    """
    size = base.architecture.vision.image_size
    wanted, checked = store_requests(recipe, size, request.seed)
    frames = Path(request.frames)

    def prepare(stage: str, part: str, store: StoreRequest) -> FrameStore:
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
                *(callbacks, say),
            )
        if (trial / SUMMARY).is_file():
            trials.append(json.loads((trial / SUMMARY).read_text(encoding="utf-8")))
    if not main_process():
        return {}
    summary = {"trials": trials, "train": train.summary(), "validation": validation.summary(), **_spread(trials)}
    write_json(folder / SUMMARY, summary)
    return summary


def _cached(
    model: EncoderModel, train: FrameStore, folder: Path, machine: Machine, report: Report
) -> FeatureStore:
    return prepare_features(
        model,
        train,
        folder,
        device=machine.device,
        progress=lambda done, total: report("compute encoder features", done, total),
    )


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
) -> None:
    def fit(used: Recipe) -> tuple[EncoderModel, dict[str, Any]]:
        # the model at hand is of the recipe that was asked for, and untrained once only
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
        return trained, scores

    ready = [model]
    if recipe.checked:
        # several processes would have to agree on a second attempt
        alone = machine.devices * machine.num_nodes == 1
        if not alone:
            recipe = replace(recipe, checked=False)  # on the way: without a second attempt it is run to its end
        model, recipe, scores = fit_checked(fit, recipe, train.frames, folder, again=alone, say=say)
    else:
        model, scores = fit(recipe)
    if not main_process():
        return
    model.eval()
    if recipe.encoder == "full":
        widen_reference(model, train.frames)
    threshold, by_threshold = base.threshold, dict[str, float]()
    if recipe.choose_threshold:
        chosen, by_threshold = choose_threshold(model, validation.frames, device=machine.device)
        threshold = replace(threshold, frame_probability=chosen)
    model.cpu()
    card = make_card(base, data, request, recipe, train, threshold, {**scores, **by_threshold}, machine)
    if (folder / "bundle").exists():  # saved, but the run was killed before it could say so
        shutil.rmtree(folder / "bundle")
    save_bundle(model, card, folder / "bundle")
    computed = machine.described(recipe)
    write_json(folder / SUMMARY, {"seed": seed, "threshold": threshold.frame, **scores, "computed": computed})
    # of use to a run that goes on only, and as large as the whole encoder
    (folder / "checkpoints" / LAST).unlink(missing_ok=True)


def licence(base: Base, data: LabelledData) -> str:
    """The terms of a model: its encoder's, and those of the data where they ask for it."""
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
