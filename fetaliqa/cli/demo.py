"""``fetaliqa demo``: evaluate a model on phantoms or single images, and generate the sample cases."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from fetaliqa.cli.argument_types import existing_folder


def configure(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    evaluate = steps.add_parser("evaluate", help="evaluate a model on held-out phantom cases")
    evaluate.add_argument("--model", default="demo", help="bundle (default: demo)")
    evaluate.add_argument("--cases", type=int, default=20, help="held-out cases (default: 20)")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    images = steps.add_parser("images", help="evaluate a model on a folder of single images")
    images.add_argument("images", type=existing_folder, metavar="DIR", help="folder of PNG or JPEG images")
    images.add_argument(
        "--masks",
        type=existing_folder,
        metavar="DIR",
        help="masks with the same names (or NAME_mask_gt.png), for Dice",
    )
    images.add_argument("--model", default="demo", help="bundle (default: demo)")
    images.add_argument("--json", action="store_true", help="print one JSON object")
    data = steps.add_parser("data", help="generate the sample cases")
    data.add_argument("--out", type=Path, default=Path("sample-data"), help="folder (default: sample-data)")


def run(args: argparse.Namespace) -> int:
    return {"evaluate": _evaluate, "images": _images, "data": _data}[args.step](args)


def _evaluate(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from fetaliqa.inference import Predictor
    from fetaliqa.lab.phantom_evaluation import evaluate_on_phantoms
    from fetaliqa.model import Bundle
    from fetaliqa.registry.model_store import resolve_bundle

    predictor = Predictor(Bundle.open(resolve_bundle(args.model)))
    with tqdm(total=args.cases, desc="held-out phantom cases", file=sys.stderr) as bar:
        result = evaluate_on_phantoms(predictor, args.cases, lambda: bar.update())
    if args.json:
        print(json.dumps(result))
    else:
        print("on held-out synthetic phantom cases (no clinical meaning):")
        for name, value in result.items():
            print(f"  {name:<42} {value:.4f}" if isinstance(value, float) else f"  {name:<42} {value}")
    return 0


def _images(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from fetaliqa.evaluation.still_evaluation import evaluate_on_images, image_pairs
    from fetaliqa.inference import Predictor
    from fetaliqa.model import Bundle
    from fetaliqa.registry.model_store import resolve_bundle

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
    print(f"{result['called_positive']} of {result['images']} images predicted positive", end="")
    print("" if result["mean_dice"] is None else f"; mean Dice {result['mean_dice']:.3f}")
    return 0


def _data(args: argparse.Namespace) -> int:
    from fetaliqa.lab.phantom.sample_data import make_sample_data

    for path in make_sample_data(args.out):
        print(path)
    return 0
