"""``fetaliqa distill``: a compact bundle that outlines as a large model does, and screens frames for it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fetaliqa.cli.argument_types import device
from fetaliqa.cli.progress_bars import Bars
from fetaliqa.model.user_folders import default_model

if TYPE_CHECKING:
    from fetaliqa.lab.distillation.distillation_cases import Source
    from fetaliqa.model import Bundle, BundleCard

MAX_PHANTOMS = 10_000


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        nargs="*",
        type=Path,
        metavar="DATA",
        help="sweep files or folders of them, without labels (default: synthetic phantoms)",
    )
    parser.add_argument(
        "--model",
        default=default_model(),
        help=f"bundle folder, name, or name@version (default: {default_model()})",
    )
    parser.add_argument("--weights", help="foundation-model weights (default: the imported ones)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the compact bundle to make")
    parser.add_argument(
        "--student",
        action="store_true",
        help="put the compact bundle into the large model's folder (student/), where it screens frames for it",
    )
    parser.add_argument(
        "--start",
        metavar="BUNDLE",
        help="compact bundle to train further, or imagenet (default: the one that ships for the model's anatomy)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=500,
        metavar="N",
        help="of training, 16 frames each (default: 500, some 20 minutes on two cores)",
    )
    parser.add_argument(
        "--name", metavar="NAME[@VERSION]", help="of the compact bundle (default: the model's, with -compact)"
    )
    parser.add_argument("--phantoms", type=int, metavar="N", help="phantom cases, without DATA (default: 80)")
    parser.add_argument(
        "--answers", type=Path, metavar="DIR", help="where the model's answers are kept (default: the cache)"
    )
    parser.add_argument(
        "--device", type=device, default="auto", help="of the large model: auto, cpu, cuda or cuda:N"
    )
    parser.add_argument("--json", action="store_true", help="print folder and card as JSON")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.cli.input_paths import sweeps_given
    from fetaliqa.errors import OptionError
    from fetaliqa.model.bundle_names import STUDENT_FOLDER, valid_name
    from fetaliqa.registry.model_store import resolve_bundle

    if args.steps < 1:
        raise OptionError(f"--steps is {args.steps}; 1 or more are needed")
    if args.data and args.phantoms is not None:
        raise OptionError("--phantoms makes cases where none are given; leave it out, or DATA")
    if args.phantoms is not None and not 1 <= args.phantoms <= MAX_PHANTOMS:
        raise OptionError(f"--phantoms is {args.phantoms}; it must be a whole number from 1 to {MAX_PHANTOMS}")
    name, at, version = (args.name or "").partition("@")
    if args.name is not None and not (valid_name(name) and (not at or valid_name(version))):
        raise OptionError(
            f"--name {args.name!r} is not a usable name; NAME or NAME@VERSION of letters, digits, '.', '_', '-' is"
        )
    directory = resolve_bundle(args.model)
    cases = sweeps_given(args.data, "distill")[0] if args.data else []
    if (args.out is None) != args.student:
        raise OptionError("give either the folder of the bundle to make with --out, or --student")
    folder = args.out or directory / STUDENT_FOLDER
    return _bundle(args, directory, folder, cases, name or None, version or None)


def _bundle(
    args: argparse.Namespace,
    directory: Path,
    folder: Path,
    cases: list[Path],
    name: str | None,
    version: str | None,
) -> int:
    # after the checks: these load torch
    from fetaliqa.inference import Predictor
    from fetaliqa.lab.distillation.distilled_bundle import DistilSettings, check_free, distil
    from fetaliqa.model.user_folders import answers_folder

    sources = _sources(args, cases)
    check_free(folder)  # before the model is loaded
    bundle = _outlining(args.model, directory)
    teacher = Predictor(bundle, args.device, weights=args.weights)
    settings = DistilSettings(args.steps, args.start, name, version, must_screen=args.student)
    with Bars() as bars:
        made = distil(teacher, sources, folder, args.answers or answers_folder(), bars.report, settings)
    if args.json:
        print(json.dumps({"bundle": str(folder), **made.card.to_json()}))
        return 0
    _print(made.card, folder, args)
    return 0


def _print(card: BundleCard, folder: Path, args: argparse.Namespace) -> None:
    told, screening = card.metrics["held_out"], card.metrics["screening"]
    print(f"bundle {card.name} {card.version} written to {folder}")
    if told["positive_frames"]:
        print(
            f"on {told['cases']} held-out cases its outlines have a mean Dice of {told['dice_mean']:.3f} with the "
            f"teacher's, on {told['positive_frames']} frames that show the {card.anatomy} to it"
        )
        precision = "none" if told["precision"] is None else f"{told['precision']:.1%}"
        print(f"it finds {told['recall']:.1%} of these frames; {precision} of what it finds is among them")
    print(
        f"its best frame is within 15 frames of the teacher's in {told['best_within_15']} of "
        f"{told['sweeps_with_a_best_frame']} sweeps"
    )
    if screening["limits"] is None:
        print(f"it cannot screen frames for its teacher (--student): {screening['reason']}")
    else:
        _print_screening(screening)
    print(card.limitations)
    if args.student:
        print(f"`fetaliqa best` and `fetaliqa score --screen` with --model {args.model} use it from now on")
    else:
        print(f"use it with --model {folder}, or put it into the model store: fetaliqa models publish {folder}")


def _print_screening(told: dict[str, Any]) -> None:
    search, outlines = told["search"], told["outlines"]
    print(
        f"as a student: a search finds the best frame of {search['found']} of {search['sweeps']} held-out sweeps, "
        f"and its teacher assesses {search['share_looked_at']:.1%} of the frames"
    )
    if outlines:
        print(
            f"screening (--screen) finds {outlines['found']} of {outlines['positive_frames']} frames that show "
            f"the anatomy to the teacher, which assesses {outlines['share_looked_at']:.1%}"
        )
    else:
        print("screening for all outlines (--screen) would miss some, or look at more than half of the frames")


def _outlining(name: str, directory: Path) -> Bundle:
    from fetaliqa.errors import OptionError
    from fetaliqa.model import Bundle

    bundle = Bundle.open(directory)
    if bundle.card.task != "segmentation":
        raise OptionError(f"--model {name}: a {bundle.card.task} bundle; one that outlines is needed")
    return bundle


def _sources(args: argparse.Namespace, cases: list[Path]) -> list[Source]:
    from fetaliqa.lab.distillation.distillation_cases import FIRST_SEED, PHANTOMS, FileSource, PhantomSource

    if cases:
        return list(map(FileSource, cases))
    count = PHANTOMS if args.phantoms is None else args.phantoms
    return [PhantomSource(FIRST_SEED + number) for number in range(count)]
