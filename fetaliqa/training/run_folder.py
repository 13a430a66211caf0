"""The folder of a training run: its inputs and its results.

run.json, recipe.json, split.json, data.json, environment.json      request and environment
trial-0/bundle/, metrics.json, checkpoints/, logs/, tensorboard/    one independent trial
metrics.json                                                        mean and spread over the trials
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from fetaliqa.atomic import write_json
from fetaliqa.datasets.labelled_data import LabelledData
from fetaliqa.datasets.splits import Split, leak_report, read_split, write_split
from fetaliqa.errors import OptionError
from fetaliqa.model.bundle_names import valid_name
from fetaliqa.model.json_records import from_json
from fetaliqa.training.provenance import environment
from fetaliqa.training.recipes import Recipe, recipe_from_json
from fetaliqa.training.starting_weights import Base

SCHEMA = 1


@dataclass(frozen=True)
class RunRequest:
    """Settings of a run besides recipe and split.

    Attributes:
        data: folder of the data set.
        kind: of the data set, see ``open_labelled``.
        base: see ``open_base``.
        weights: FetalCLIP's weights file; None for the imported ones.
        trials: independent trials, each with a fresh model and seed.
        seed: of the first trial; the next have the numbers after it.
        name: of the bundles.
        feature_cache: compute a frozen encoder's features once, where that is exact.
        frames: cache folder of prepared frames and features.
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
    """Whether this is the first process of distributed training, which writes the files."""
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
    """Make the run's folder and record its settings.

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
    write_json(folder / "run.json", asdict(request))  # last: a folder with this file can be resumed


def remove_unused(folder: Path) -> None:
    """Remove a run's folder without training results, so that its name can be used again."""
    if not any(folder.glob("trial-*/checkpoints/*")):
        shutil.rmtree(folder, ignore_errors=True)


def open_run(folder: Path) -> tuple[RunRequest, Recipe, Split]:
    """Read the settings of a run's folder.

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
        asked = {"anatomy": None, **asked}  # missing in runs of earlier versions
    request = from_json(RunRequest, asked, str(folder / "run.json"), OptionError)
    return (
        request,
        recipe_from_json(values["recipe"], str(folder / "recipe.json")),
        read_split(folder / "split.json"),
    )


def check_unchanged(folder: Path, data: LabelledData, base: Base) -> None:
    """Check that data and base weights have not changed since the run began.

    Raises:
        OptionError: naming what changed.
    """
    file = folder / "data.json"
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))
        recorded = {name: recorded[name] for name in ("sha256", "base_sha256")}
    except (OSError, ValueError, KeyError, TypeError):
        raise OptionError(f"{file}: missing or damaged, so the data cannot be compared; start a new run") from None
    if recorded["sha256"] != data.fingerprint():
        raise OptionError(
            f"{folder}: images or labels of the data set changed since this run began; start a new run"
        )
    if recorded["base_sha256"] != base.sha256():
        raise OptionError(
            f"{folder}: base {base.name!r} has other weights than when this run began; start a new run"
        )
