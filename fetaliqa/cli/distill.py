"""``fetaliqa distill``: a small student that screens frames for a model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fetaliqa.cli.arguments import device
from fetaliqa.cli.bars import Bars
from fetaliqa.models.home import default_model

if TYPE_CHECKING:
    from fetaliqa.distillation.sources import Source

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
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to make (default: student/ in the bundle)")
    parser.add_argument("--phantoms", type=int, metavar="N", help="phantom cases, without DATA (default: 80)")
    parser.add_argument(
        "--passes", type=int, default=15, metavar="N", help="times that each training frame is seen (default: 15)"
    )
    parser.add_argument(
        "--answers", type=Path, metavar="DIR", help="where the model's answers are kept (default: the cache)"
    )
    parser.add_argument(
        "--device", type=device, default="auto", help="of the large model: auto, cpu, cuda or cuda:N"
    )
    parser.add_argument("--json", action="store_true", help="print the student's card and folder as JSON")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.cli.inputs import sweeps_given
    from fetaliqa.errors import OptionError
    from fetaliqa.models.store import STUDENT_FOLDER, resolve_bundle

    if args.passes < 1:
        raise OptionError(f"--passes is {args.passes}; 1 or more are needed")
    if args.data and args.phantoms is not None:
        raise OptionError("--phantoms makes cases where none are given; leave it out, or DATA")
    if args.phantoms is not None and not 1 <= args.phantoms <= MAX_PHANTOMS:
        raise OptionError(f"--phantoms is {args.phantoms}; it must be a whole number from 1 to {MAX_PHANTOMS}")
    directory = resolve_bundle(args.model)
    cases = sweeps_given(args.data, "distill")[0] if args.data else []
    # after the checks: these load torch
    from fetaliqa.distillation.learn import LearnSettings
    from fetaliqa.distillation.run import distil
    from fetaliqa.inference import Predictor
    from fetaliqa.models import Bundle
    from fetaliqa.models.home import answers_folder
    from fetaliqa.student.folder import check_free

    sources = _sources(args, cases)
    bundle = Bundle.open(directory)
    folder = args.out or bundle.directory / STUDENT_FOLDER
    check_free(folder)  # before the model is loaded
    teacher = Predictor(bundle, args.device, weights=args.weights)
    with Bars() as bars:
        card = distil(
            teacher,
            sources,
            folder,
            args.answers or answers_folder(),
            bars.report,
            LearnSettings(passes=args.passes),
        )
    if args.json:
        print(json.dumps({"student": str(folder), **card.to_json()}))
        return 0
    _print(folder, card.held_out, card.limitations)
    return 0


def _print(folder: Path, told: dict[str, Any], limitations: str) -> None:
    print(f"student written to {folder}")
    print(
        f"on {told['cases']} held-out cases a search finds the best frame of {told['found']} of {told['sweeps']} "
        f"sweeps, and looks at {told['share_looked_at']:.1%} of the frames"
    )
    screening = told["screening"]
    if screening:
        print(
            f"screening finds {screening['found']} of {screening['positive_frames']} frames that show the anatomy "
            f"to the model, and looks at {screening['share_looked_at']:.1%}"
        )
    else:
        print("it cannot screen frames for outlines (--screen): it would miss some or look at more than half")
        print("of the frames, or the held-out cases show the anatomy nowhere")
    print(limitations)


def _sources(args: argparse.Namespace, cases: list[Path]) -> list[Source]:
    from fetaliqa.distillation.run import FIRST_SEED, PHANTOMS
    from fetaliqa.distillation.sources import FileSource, PhantomSource

    if cases:
        return list(map(FileSource, cases))
    count = PHANTOMS if args.phantoms is None else args.phantoms
    return [PhantomSource(FIRST_SEED + number) for number in range(count)]
