"""``fetaliqa retrain``: retrain on the confirmed labels of a studies folder, and publish if non-inferior."""

from __future__ import annotations

import argparse
import json
import sys

from fetaliqa.cli.argument_types import add_memory_options, existing_folder, micro_batch
from fetaliqa.extras import require_extra

# options that define a run, and cannot be changed when it is resumed
DECIDING = ("mode", "bundle", "replay", "no_replay", "name", "weights", "seed", "no_publish", "set")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "studies", type=existing_folder, metavar="STUDIES", help="folder of studies with confirmed labels"
    )
    parser.add_argument(
        "--mode",
        choices=("quick", "full"),
        default="quick",
        help="quick: minutes on a CPU; trains a compact model fully, or the decoder of others; full: longer; "
        "trains adapters and decoder of others (default quick)",
    )
    parser.add_argument(
        "--bundle", help="bundle to start from (default: the published one of --name, else abdomen)"
    )
    parser.add_argument(
        "--replay",
        type=existing_folder,
        metavar="DIR",
        help="earlier training data to mix in; remembered",
    )
    parser.add_argument("--no-replay", action="store_true", help="train on the confirmed frames only")
    parser.add_argument("--name", default="fetalclip_seg", help="name of the model (default fetalclip_seg)")
    parser.add_argument("--weights", help="FetalCLIP weights file (default: the imported ones)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="change a recipe field")
    parser.add_argument("--no-publish", action="store_true", help="keep the result as a candidate")
    parser.add_argument("--resume", action="store_true", help="resume the last run")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--devices", type=int, default=1, metavar="N", help="GPUs, or processes on a CPU, that train together"
    )
    parser.add_argument("--nondeterministic", action="store_true", help="allow faster nondeterministic kernels")
    add_memory_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(not_given={name: parser.get_default(name) for name in DECIDING})


def run(args: argparse.Namespace) -> int:
    from fetaliqa.cli.progress_bars import Bars
    from fetaliqa.cli.recipe_settings import parse_settings
    from fetaliqa.errors import OptionError

    if args.devices < 1:
        raise OptionError(f"--devices is {args.devices}; 1 or more is needed")
    if args.resume:
        changed = [
            f"--{name.replace('_', '-')}" for name in DECIDING if getattr(args, name) != args.not_given[name]
        ]
        if changed:
            raise OptionError(f"--resume uses the settings of the run; omit {', '.join(changed)}")
    settings, at_once = parse_settings(args.set), micro_batch(args.micro_batch)
    require_extra("train", "retraining", {"lightning": "lightning"})
    # after the checks: these load torch
    from fetaliqa.inference.devices import choose_device
    from fetaliqa.retraining.pipeline import RetrainRequest, retrain
    from fetaliqa.training.trainer import Machine

    choose_device(args.accelerator)
    machine = Machine(
        accelerator=args.accelerator,
        devices=args.devices,
        micro_batch=at_once,
        recompute=args.recompute,
        deterministic=not args.nondeterministic,
        progress=False,
    )
    request = RetrainRequest(
        mode=args.mode,
        bundle=args.bundle,
        replay=args.replay,
        without_replay=args.no_replay,
        name=args.name,
        publish=not args.no_publish,
        weights=args.weights,
        seed=args.seed,
        settings=settings,
    )
    try:
        with Bars() as bars:
            result = retrain(
                args.studies,
                request,
                resume=args.resume,
                machine=machine,
                report=bars.report,
                say=bars.say,
            )
    except KeyboardInterrupt:
        print(f"fetaliqa retrain: resume with `fetaliqa retrain {args.studies} --resume`", file=sys.stderr)
        raise
    if not result:  # one of several processes
        return 0
    print(json.dumps(result) if args.json else result["sentence"])
    return 0
