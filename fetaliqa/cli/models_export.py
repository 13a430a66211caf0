"""The ``export`` action of ``fetaliqa models``."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fetaliqa.model.bundle import Bundle

MONAI = "monai"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the action."""
    parser.add_argument("name", help="NAME, NAME@VERSION, or the path of a bundle folder")
    parser.add_argument(
        "--format",
        default="onnx",
        choices=("onnx", "openvino", MONAI),
        help="onnx: one file, which `fetaliqa score --model` takes too (default); openvino: .xml and .bin; "
        "monai: the folder of a MONAI bundle, which runs without FetalIQA",
    )
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="file or folder to create (default: NAME-VERSION.onnx here, ...)"
    )
    parser.add_argument("--weights", help="FetalCLIP weights file (default: the imported ones)")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.model.bundle import Bundle
    from fetaliqa.registry.model_store import resolve_bundle

    bundle = Bundle.open(resolve_bundle(args.name))
    if args.format == MONAI:
        return _export_monai(bundle, args)
    from fetaliqa.inference.model_export import FORMATS, LARGEST_DIFFERENCE, export_model

    card = bundle.card
    target = args.out or Path(f"{card.name}-{card.version}{FORMATS[args.format]}")
    done = export_model(bundle, target, args.format, args.weights)
    if args.json:
        print(
            json.dumps(
                {
                    "name": card.name,
                    "version": card.version,
                    "files": list(map(str, done.files)),
                    "difference": done.difference,
                    "runtime": done.runtime,
                }
            )
        )
        return 0
    sizes = ", ".join(f"{file} ({file.stat().st_size / 1e6:.1f} MB)" for file in done.files)
    print(f"{card.name} {card.version}, {card.task} of the {card.anatomy}: {sizes}; not for clinical use")
    if done.difference is None:
        print("not compared with PyTorch: that takes PyTorch and a runtime, and one of them is not installed")
    else:
        print(
            f"outputs of {done.runtime} and PyTorch on test frames differ by at most {done.difference:.1e} "
            f"({LARGEST_DIFFERENCE:g} is allowed)"
        )
    return 0


def _export_monai(bundle: Bundle, args: argparse.Namespace) -> int:
    from fetaliqa.errors import OptionError
    from fetaliqa.extras import require_extra

    card = bundle.card
    out = (args.out or Path(f"{card.name}-{card.version}-monai")).expanduser()
    if os.path.lexists(out):
        raise OptionError(f"{out} exists already; choose another folder")
    require_extra("torch", "a MONAI bundle", {"torch": "torch"})
    from fetaliqa.deployment.monai_export import export_monai

    written = export_monai(bundle, out, weights=args.weights)
    if args.json:
        print(json.dumps({"format": MONAI, "out": str(out), **written}, indent=2))
        return 0
    for line in written["lines"]:
        print(line)
    print(f"written to {out}")
    return 0
