"""``fetaliqa distill``: distil a compact bundle from a large model, optionally as its screening model."""

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
        help="sweep files or folders, without labels (default: synthetic phantoms)",
    )
    parser.add_argument(
        "--model",
        default=default_model(),
        help=f"bundle folder, name, or name@version (default: {default_model()})",
    )
    parser.add_argument("--weights", help="foundation-model weights (default: the imported ones)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the compact bundle")
    parser.add_argument(
        "--student",
        action="store_true",
        help="write the compact bundle to the large model's folder (student/), to screen frames for it",
    )
    parser.add_argument(
        "--start",
        metavar="BUNDLE",
        help="compact bundle to start from, or imagenet (default: the shipped one for the model's anatomy)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=500,
        metavar="N",
        help="training steps of 16 frames (default: 500, about 20 minutes on two cores)",
    )
    parser.add_argument(
        "--name", metavar="NAME[@VERSION]", help="name of the compact bundle (default: the model's, with -compact)"
    )
    parser.add_argument("--phantoms", type=int, metavar="N", help="phantom cases, without DATA (default: 80)")
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="DIR",
        help="folder for cached outputs of the large model (default: the cache)",
    )
    parser.add_argument(
        "--device", type=device, default="auto", help="device of the large model: auto, cpu, cuda or cuda:N"
    )
    parser.add_argument("--json", action="store_true", help="print folder and card as JSON")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.cli.input_paths import sweeps_given
    from fetaliqa.errors import OptionError
    from fetaliqa.model.bundle_names import STUDENT_FOLDER, valid_name
    from fetaliqa.registry.model_store import resolve_bundle

    if args.steps < 1:
        raise OptionError(f"--steps is {args.steps}; 1 or more is needed")
    if args.data and args.phantoms is not None:
        raise OptionError("--phantoms and DATA exclude each other; omit one of them")
    if args.phantoms is not None and not 1 <= args.phantoms <= MAX_PHANTOMS:
        raise OptionError(f"--phantoms is {args.phantoms}; it must be a whole number from 1 to {MAX_PHANTOMS}")
    name, at, version = (args.name or "").partition("@")
    if args.name is not None and not (valid_name(name) and (not at or valid_name(version))):
        raise OptionError(
            f"--name {args.name!r} is invalid; use NAME or NAME@VERSION of letters, digits, '.', '_' and '-'"
        )
    directory = resolve_bundle(args.model)
    cases = sweeps_given(args.data, "distill")[0] if args.data else []
    if (args.out is None) != args.student:
        raise OptionError("give either --out with the folder for the bundle, or --student")
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
        student = distil(teacher, sources, folder, args.answers or answers_folder(), bars.report, settings)
    if args.json:
        print(json.dumps({"bundle": str(folder), **student.card.to_json()}))
        return 0
    _print(student.card, folder, args)
    return 0


def _print(card: BundleCard, folder: Path, args: argparse.Namespace) -> None:
    metrics, screening = card.metrics["held_out"], card.metrics["screening"]
    print(f"bundle {card.name} {card.version} written to {folder}")
    if metrics["positive_frames"]:
        print(
            f"on {metrics['cases']} held-out cases its mean Dice with the teacher's outlines is "
            f"{metrics['dice_mean']:.3f}, on {metrics['positive_frames']} frames with the {card.anatomy}"
        )
        precision = "undefined" if metrics["precision"] is None else f"{metrics['precision']:.1%}"
        print(f"recall {metrics['recall']:.1%} and precision {precision} of these frames")
    print(
        f"its best frame is within 15 frames of the teacher's in {metrics['best_within_15']} of "
        f"{metrics['sweeps_with_a_best_frame']} sweeps"
    )
    if screening["limits"] is None:
        print(f"it cannot screen frames for its teacher (--student): {screening['reason']}")
    else:
        _print_screening(screening)
    print(card.limitations)
    if args.student:
        print(f"`fetaliqa best` and `fetaliqa score --screen` with --model {args.model} now use it")
    else:
        print(f"use it with --model {folder}, or add it to the model store: fetaliqa models publish {folder}")


def _print_screening(screening: dict[str, Any]) -> None:
    search, outlines = screening["search"], screening["outlines"]
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
        print("screening for all outlines (--screen) would miss some, or assess more than half of the frames")


def _outlining(name: str, directory: Path) -> Bundle:
    from fetaliqa.errors import OptionError
    from fetaliqa.model import Bundle

    bundle = Bundle.open(directory)
    if bundle.card.task != "segmentation":
        raise OptionError(f"--model {name}: a {bundle.card.task} bundle; a segmentation bundle is needed")
    return bundle


def _sources(args: argparse.Namespace, cases: list[Path]) -> list[Source]:
    from fetaliqa.lab.distillation.distillation_cases import FIRST_SEED, PHANTOMS, FileSource, PhantomSource

    if cases:
        return list(map(FileSource, cases))
    count = PHANTOMS if args.phantoms is None else args.phantoms
    return [PhantomSource(FIRST_SEED + number) for number in range(count)]
