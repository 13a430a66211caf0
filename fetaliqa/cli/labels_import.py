"""The ``import`` action of ``fetaliqa labels``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from fetaliqa.cli.bars import moves
from fetaliqa.cli.inputs import existing

FORMATS = ("acouslic", "nnunet", "coco", "cvat", "slicer")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the action's own options."""
    parser.add_argument("source", type=existing, metavar="PATH", help="folder or file of the labels")
    parser.add_argument(
        "--from",
        dest="kind",
        required=True,
        choices=FORMATS,
        help="mask stacks (acouslic), raw data set (nnunet), COCO, CVAT's `Segmentation mask`, .seg.nrrd (slicer)",
    )
    parser.add_argument("--rater", required=True, help="who made them")
    parser.add_argument("--tag", help="line of labels to save to (default: the rater's own)")
    parser.add_argument(
        "--empty", action="store_true", help="frames without an outline were looked at too, and are empty"
    )
    parser.add_argument("--dry-run", action="store_true", help="compare, and save nothing")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Import; returns 2 when a case has a conflict or a problem."""
    from dataclasses import asdict

    from tqdm import tqdm

    from fetaliqa.cli.extras import require_extra
    from fetaliqa.export.importing import import_labels
    from fetaliqa.export.incoming import open_incoming

    if args.kind == "coco":
        require_extra("export", "reading COCO", {"pycocotools": "pycocotools"})
    incoming = open_incoming(args.source, args.kind)
    with tqdm(desc="import", unit="case", disable=args.quiet or None, file=sys.stderr, leave=False) as bar:
        results = import_labels(
            args.studies,
            incoming,
            args.rater,
            tag=args.tag,
            empty=args.empty,
            about={"format": args.kind, "name": args.source.name},
            dry_run=args.dry_run,
            progress=moves(bar),
        )
    if args.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        for result in results:
            _print(result, args)
    return 2 if any(result.conflicts or result.problem for result in results) else 0


def _print(result: Any, args: argparse.Namespace) -> None:
    if result.problem:
        print(f"fetaliqa labels: {result.problem}", file=sys.stderr)
        return
    tag = args.tag or args.rater
    told = f"{len(result.added)} new, {len(result.same)} the same"
    if result.conflicts:
        frames = ", ".join(map(str, result.conflicts[:20])) + (" ..." if len(result.conflicts) > 20 else "")
        print(
            f"{result.case_id}, {tag}: frames {frames} say something else there; nothing of this case was saved "
            f"({told}); use another --tag, and compare with `fetaliqa labels agreement`",
            file=sys.stderr,
        )
    elif result.version is not None:
        print(f"{result.case_id}, {tag}: version {result.version} ({told})")
    else:
        print(f"{result.case_id}, {tag}: nothing saved ({told})")
