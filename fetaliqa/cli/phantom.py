"""``fetaliqa phantom``: generate synthetic blind sweeps in the ACOUSLIC-AI folder layout."""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to create; must not exist")
    parser.add_argument("--cases", type=int, default=1, metavar="N", help="number of cases (default 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="random seed (default 0)")
    parser.add_argument(
        "--scale",
        choices=("full", "half"),
        default="full",
        help="562 x 744 pixels of 0.28 mm, or 281 x 372 of 0.56 mm (default full)",
    )
    parser.add_argument("--sweeps", type=int, default=6, metavar="N", help="sweeps per case, 1-6 (default 6)")
    parser.add_argument("--slots", type=int, default=140, metavar="N", help="frame slots per sweep (default 140)")
    parser.add_argument(
        "--workers", type=int, default=None, metavar="N", help="processes (default: cores, at most 4)"
    )
    parser.add_argument("--preview", type=Path, metavar="PNG", help="also write an image of the first case")
    parser.add_argument("--json", action="store_true", help="print a JSON summary instead of text")


def run(args: argparse.Namespace) -> int:
    import json
    import sys

    from tqdm import tqdm

    from fetaliqa.datasets.acouslic_layout import MANIFEST
    from fetaliqa.lab.phantom.phantom_dataset import write_dataset
    from fetaliqa.lab.phantom.phantom_settings import PhantomSettings

    settings = PhantomSettings(scale=args.scale, sweeps=args.sweeps, slots=args.slots)
    with tqdm(total=args.cases, unit="case", file=sys.stderr, disable=None) as bar:
        directory = write_dataset(
            args.out,
            args.cases,
            args.seed,
            settings,
            lambda done, total: bar.update(done - bar.n),
            workers=args.workers,
        )
    if args.preview:
        from fetaliqa.lab.phantom.phantom_preview import write_preview

        write_preview(directory, args.preview)
    manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    if args.json:
        print(json.dumps({"directory": str(directory), **manifest}, indent=2))
        return 0
    for case in manifest["cases"]:
        values = ", ".join("-" if value is None else f"{value:.1f}" for value in case["ac_mm"])
        print(f"{case['case_id']}  AC per sweep (mm): {values}")
    print(f"{args.cases} synthetic case(s) in {directory}")
    return 0
