"""``fetaliqa demo``: the sample cases and the demo model, made again from their seeds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from fetaliqa.cli.arguments import existing_folder


def configure(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    train = steps.add_parser("train", help="train the demo model on phantoms (about 20 minutes on two cores)")
    train.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to make; must not exist (default: where the demo model ships)",
    )
    train.add_argument("--cases", type=int, help="training cases (for a quick try)")
    train.add_argument("--steps", type=int, help="optimiser steps of each stage (for a quick try)")
    evaluate = steps.add_parser("evaluate", help="measure a model on held-out phantom cases")
    evaluate.add_argument("--model", default="demo", help="bundle (default: demo)")
    evaluate.add_argument("--cases", type=int, default=20, help="held-out cases (default: 20)")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    images = steps.add_parser("images", help="what a model does on a folder of single images")
    images.add_argument("images", type=existing_folder, metavar="DIR", help="folder of PNG or JPEG images")
    images.add_argument(
        "--masks",
        type=existing_folder,
        metavar="DIR",
        help="masks of the same names (or NAME_mask_gt.png), for Dice",
    )
    images.add_argument("--model", default="demo", help="bundle (default: demo)")
    images.add_argument("--json", action="store_true", help="print one JSON object")
    data = steps.add_parser("data", help="make the sample cases again")
    data.add_argument("--out", type=Path, default=Path("sample-data"), help="folder (default: sample-data)")


def run(args: argparse.Namespace) -> int:
    return {"train": _train, "evaluate": _evaluate, "images": _images, "data": _data}[args.step](args)


def _train(args: argparse.Namespace) -> int:
    import time
    from dataclasses import replace

    from tqdm import tqdm

    from fetaliqa.errors import OptionError
    from fetaliqa.models.home import demo_folder

    out = args.out or demo_folder()
    if out.exists():
        raise OptionError(f"{out} exists already; move it away, or choose another folder with --out")
    from fetaliqa.training.demo import DemoRecipe, train_demo

    recipe = DemoRecipe()
    if args.cases:
        recipe = replace(recipe, train_cases=args.cases, validation_cases=max(2, args.cases // 10))
    if args.steps:
        recipe = replace(
            recipe,
            encoder=replace(recipe.encoder, steps=args.steps),
            adapters=replace(recipe.adapters, steps=args.steps),
            whole=replace(recipe.whole, steps=args.steps),
        )
    bars: dict[str, tqdm] = {}

    def report(stage: str, done: int, total: int, remark: str) -> None:
        if stage not in bars:
            bars[stage] = tqdm(total=total, desc=stage, file=sys.stderr, mininterval=1)
        bars[stage].set_postfix_str(remark, refresh=False)
        bars[stage].update(done - bars[stage].n)
        if done == total:
            bars[stage].close()

    started = time.monotonic()
    bundle = train_demo(out, recipe, report)
    print(f"demo model written to {out} in {(time.monotonic() - started) / 60:.1f} minutes")
    print(json.dumps(bundle.card.metrics, indent=2))
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from fetaliqa.experiments.phantom_evaluation import evaluate_on_phantoms
    from fetaliqa.inference import Predictor
    from fetaliqa.models import Bundle
    from fetaliqa.models.store import resolve_bundle

    predictor = Predictor(Bundle.open(resolve_bundle(args.model)))
    with tqdm(total=args.cases, desc="held-out phantom cases", file=sys.stderr) as bar:
        result = evaluate_on_phantoms(predictor, args.cases, lambda: bar.update())
    if args.json:
        print(json.dumps(result))
    else:
        print("on synthetic phantom cases the model has not seen (no clinical meaning):")
        for name, value in result.items():
            print(f"  {name:<42} {value:.4f}" if isinstance(value, float) else f"  {name:<42} {value}")
    return 0


def _images(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from fetaliqa.experiments.still_images import evaluate_on_images, image_pairs
    from fetaliqa.inference import Predictor
    from fetaliqa.models import Bundle
    from fetaliqa.models.store import resolve_bundle

    pairs = image_pairs(args.images, args.masks)
    predictor = Predictor(Bundle.open(resolve_bundle(args.model)))
    with tqdm(total=len(pairs), desc="images", file=sys.stderr) as bar:
        result = evaluate_on_images(predictor, pairs, lambda: bar.update())
    if args.json:
        print(json.dumps(result))
        return 0
    for row in result["each"]:
        overlap = f"Dice {row['dice']:.3f}" if "dice" in row else ""
        print(f"  {row['image']:<52} {'positive' if row['positive'] else 'negative'}  {overlap}")
    print(f"{result['called_positive']} of {result['images']} images called positive", end="")
    print("" if result["mean_dice"] is None else f"; mean Dice {result['mean_dice']:.3f}")
    return 0


def _data(args: argparse.Namespace) -> int:
    from fetaliqa.training.sample_data import make_sample_data

    for path in make_sample_data(args.out):
        print(path)
    return 0
