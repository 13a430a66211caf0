"""``fetaliqa train``: train models by a recipe, in one or more independent trials, to a run folder."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fetaliqa.cli.argument_types import add_memory_options, existing, existing_folder, micro_batch
from fetaliqa.cli.progress_bars import Bars
from fetaliqa.extras import require_extra

if TYPE_CHECKING:
    from fetaliqa.datasets.labelled_data import LabelledData
    from fetaliqa.datasets.splits import Split
    from fetaliqa.training.recipes import Recipe
    from fetaliqa.training.run_folder import RunRequest
    from fetaliqa.training.starting_weights import Base
    from fetaliqa.training.trainer import Machine

# options that define a run, and cannot be changed when it is resumed
DECIDING = (
    "out", "split", "kind", "anatomy", "recipe", "set", "task", "base", "weights", "trials", "seed", "name",
    "no_feature_cache", "frames",
)  # fmt: skip
FOLDER_VARIABLE = "FETALIQA_RUN_FOLDER"  # passes the run folder to child processes


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data", nargs="?", type=existing_folder, metavar="DATA", help="folder of a labelled data set"
    )
    parser.add_argument("--resume", type=existing_folder, metavar="RUN", help="resume an interrupted run")
    parser.add_argument("--out", type=Path, metavar="RUN", help="run folder to make (default: runs/RECIPE-TIME)")
    parser.add_argument(
        "--kind", default="auto", help="of the data set: auto, acouslic, hc18, studies (default auto)"
    )
    parser.add_argument("--anatomy", help="what is outlined, in a folder of studies (default abdomen)")
    what = parser.add_argument_group("what is trained")
    what.add_argument(
        "--recipe", default="fetaliqa", help="paper, released-code, fetaliqa, decoder, compact, or a JSON file"
    )
    what.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="change a recipe field")
    what.add_argument(
        "--task", choices=("segmentation", "classification"), default=None, help="task of a named recipe"
    )
    what.add_argument(
        "--base",
        default="fetalclip",
        help="encoder to start from: fetalclip, a bundle that includes one (demo), or scratch:ARCHITECTURE",
    )
    what.add_argument("--weights", help="FetalCLIP weights file (default: the imported ones)")
    what.add_argument("--split", type=existing, metavar="FILE", help="split file (default: by subject, 70/10/20)")
    what.add_argument("--trials", type=int, default=1, metavar="N", help="independent trials (the paper: 5)")
    what.add_argument("--seed", type=int, default=0, metavar="S", help="seed of split and first trial (default 0)")
    what.add_argument("--name", help="name of the bundles (default: the recipe's)")
    what.add_argument("--no-feature-cache", action="store_true", help="run a frozen encoder in every epoch")
    how = parser.add_argument_group("computation")
    how.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto")
    how.add_argument("--devices", type=int, default=1, metavar="N", help="devices per node (default 1)")
    how.add_argument("--num-nodes", type=int, default=1, metavar="N", help="nodes (default 1)")
    how.add_argument("--strategy", default="auto", help="auto, ddp, ... as Lightning names them")
    how.add_argument(
        "--precision",
        choices=("bf16-mixed", "16-mixed", "32-true"),
        help="default: the recipe's on CUDA, else 32-true",
    )
    how.add_argument("--workers", type=int, metavar="N", help="loader processes (default: 2 on CUDA, else none)")
    how.add_argument("--nondeterministic", action="store_true", help="allow faster nondeterministic kernels")
    add_memory_options(how)
    how.add_argument(
        "--processes", type=int, default=1, metavar="N", help="processes to prepare frames (default 1)"
    )
    how.add_argument("--frames", type=Path, metavar="DIR", help="folder of prepared frames (default: the cache)")
    parser.add_argument("--no-test", action="store_true", help="skip the final evaluation on the test part")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(not_given={name: parser.get_default(name) for name in DECIDING})


def run(args: argparse.Namespace) -> int:
    from fetaliqa.errors import OptionError

    if (args.data is None) == (args.resume is None):
        raise OptionError("give either the folder of a data set to train on, or --resume RUN")
    if args.resume is not None:
        defaults = args.not_given
        changed = [f"--{name.replace('_', '-')}" for name in DECIDING if getattr(args, name) != defaults[name]]
        if changed:
            raise OptionError(f"--resume uses the settings of the run; omit {', '.join(changed)}")
    recipe = None if args.resume is not None else _recipe(args.recipe, args.task, args.set)
    require_extra("train", "training", {"lightning": "lightning"})
    # after the checks: all of these load torch
    from lightning.fabric.plugins.environments import SLURMEnvironment

    from fetaliqa.allocator import keep_freed_memory
    from fetaliqa.labels.dataset_kinds import open_labelled
    from fetaliqa.training.lightning_messages import quiet_lightning
    from fetaliqa.training.run_folder import check_unchanged, main_process, open_run, remove_unused
    from fetaliqa.training.starting_weights import open_base
    from fetaliqa.training.training_run import execute

    keep_freed_memory()
    quiet_lightning()
    machine = _machine(args)
    if recipe is None:
        folder = args.resume
        request, recipe, split = open_run(folder)
        data = open_labelled(Path(request.data), kind=request.kind, anatomy=request.anatomy)
        base = open_base(request.base, request.weights)
        check_unchanged(folder, data, base)
    else:
        folder, request, recipe, split, data, base = _new_run(args, recipe)
    external = "TORCHELASTIC_RUN_ID" in os.environ or SLURMEnvironment.detect()
    if request.trials > 1 and machine.devices * machine.num_nodes > 1 and not external:
        raise OptionError(
            f"{request.trials} trials on several devices: start with torchrun, or train one trial per command"
        )
    try:
        with Bars() as bars:
            summary = execute(folder, data, base, request, recipe, split, machine, bars.report, args.processes)
    except OptionError:
        if args.resume is None and main_process():
            remove_unused(folder)
        raise
    except KeyboardInterrupt:
        print(f"fetaliqa train: resume with `fetaliqa train --resume {folder}`", file=sys.stderr)
        raise
    if not main_process():
        return 0
    tested = None if args.no_test or not split.test else _test(folder, data, request.weights, args.accelerator)
    if args.json:
        print(json.dumps({"run": str(folder), **summary, "test": tested}))
        return 0
    _print(folder, summary, tested)
    return 0


def _new_run(
    args: argparse.Namespace, recipe: Recipe
) -> tuple[Path, RunRequest, Recipe, Split, LabelledData, Base]:
    from fetaliqa.datasets.splits import custom, subject_split
    from fetaliqa.labels.dataset_kinds import open_labelled
    from fetaliqa.model.user_folders import frames_folder
    from fetaliqa.training.run_folder import start_run
    from fetaliqa.training.starting_weights import open_base

    data = open_labelled(args.data, kind=args.kind, anatomy=args.anatomy)
    entries = data.entries()
    if args.split is not None:
        split = custom(args.split, entries)
    else:
        split = subject_split(entries, seed=args.seed)
    request = _request(
        data=str(Path(args.data).resolve()),
        kind=args.kind,
        base=args.base,
        weights=args.weights,
        trials=args.trials,
        seed=args.seed,
        name=args.name or recipe.name,
        feature_cache=not args.no_feature_cache,
        frames=str((args.frames or frames_folder()).resolve()),
        anatomy=args.anatomy,
    )
    base = open_base(request.base, request.weights)
    base.check(recipe)  # before the folder is created
    folder = _folder(args.out, recipe.name)
    start_run(folder, request, recipe, split, data, base)
    return folder, request, recipe, split, data, base


def _folder(out: Path | None, recipe: str) -> Path:
    """The run folder, shared with child processes."""
    from datetime import datetime

    from fetaliqa.errors import OptionError
    from fetaliqa.training.run_folder import main_process

    folder = out or os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        if not main_process():
            raise OptionError("several processes train together; give one folder for all of them with --out")
        folder = Path("runs") / f"{recipe}-{datetime.now():%Y%m%d-%H%M%S}"
    os.environ[FOLDER_VARIABLE] = str(folder)
    return Path(folder)


def _request(**values: Any) -> RunRequest:
    from fetaliqa.errors import OptionError
    from fetaliqa.training.run_folder import RunRequest

    try:
        return RunRequest(**values)
    except ValueError as problem:
        raise OptionError(str(problem)) from None


def _recipe(name: str, task: str | None, settings: list[str]) -> Recipe:
    from fetaliqa.cli.recipe_settings import parse_settings
    from fetaliqa.errors import OptionError
    from fetaliqa.training.recipes import RECIPE_NAMES, changed, recipe_from_json, recipe_named

    file = Path(name)
    if name not in RECIPE_NAMES and file.is_file():
        try:
            recipe = recipe_from_json(json.loads(file.read_bytes()), str(file))
        except ValueError as problem:
            raise OptionError(f"{file}: not readable JSON ({problem})") from None
        if task is not None and task != recipe.task:
            raise OptionError(f"{file}: its task is {recipe.task!r}, --task is {task!r}; change one of them")
    else:
        recipe = recipe_named(name, task or "segmentation")
    changes = parse_settings(settings)
    return changed(recipe, changes) if changes else recipe


def _machine(args: argparse.Namespace) -> Machine:
    from fetaliqa.errors import OptionError
    from fetaliqa.inference.devices import choose_device
    from fetaliqa.training.trainer import Machine

    choose_device(args.accelerator)
    for name, least in {"devices": 1, "num_nodes": 1, "processes": 1, "workers": 0}.items():
        if getattr(args, name) is not None and getattr(args, name) < least:
            raise OptionError(f"--{name.replace('_', '-')} is {getattr(args, name)}; {least} or more is needed")
    return Machine(
        accelerator=args.accelerator,
        devices=args.devices,
        num_nodes=args.num_nodes,
        strategy=args.strategy,
        precision=args.precision,
        workers=args.workers,
        deterministic=not args.nondeterministic,
        progress=sys.stderr.isatty(),
        micro_batch=micro_batch(args.micro_batch),
        recompute=args.recompute,
    )


def _test(folder: Path, data: LabelledData, weights: str | None, accelerator: str) -> dict[str, Any]:
    """Evaluate on the test part as ``fetaliqa evaluate`` does; also written to ``evaluation.json``."""
    from fetaliqa.atomic import write_json
    from fetaliqa.evaluation.run_evaluation import evaluate_run

    with Bars() as bars:
        result = evaluate_run(
            folder,
            data,
            "test",
            weights=weights,
            device=accelerator,
            progress=lambda trial, done, total: bars.report(f"evaluate {trial}", int(done), total),
        ).to_json()
    write_json(folder / "evaluation.json", result)
    return result


def _print(folder: Path, summary: dict[str, Any], tested: dict[str, Any] | None) -> None:
    trials = summary["trials"]
    print(f"{len(trials)} trial(s) in {folder}")
    for number, trial in enumerate(trials):
        figures = "  ".join(f"{name} {value:.4g}" for name, value in trial.items() if name.startswith("val_"))
        print(f"  trial {number}: {figures}  bundle {folder / f'trial-{number}' / 'bundle'}")
    if tested is not None:
        print(f"on the test part (all figures: {folder / 'evaluation.json'}):")
        for group, figures in tested["summary"].items():
            values = [f"{name} {value['mean']:.4g}" for name, value in figures.items() if value]
            print(f"  {group}: " + ", ".join(values))
    print(f"see `fetaliqa evaluate {folder} DATA` for tables and figures")
