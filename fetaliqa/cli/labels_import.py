"""The ``import`` action of ``fetaliqa labels``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from fetaliqa.cli.argument_types import existing
from fetaliqa.cli.progress_bars import moves
from fetaliqa.export.incoming_names import FORMATS, POLYGONS
from fetaliqa.measure.anatomy import ANATOMIES

if TYPE_CHECKING:
    from fetaliqa.export.label_import import ImportedCase

SHOWN = 20  # frames or names in a line


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the action."""
    parser.add_argument("source", type=existing, metavar="PATH", help="folder or file of the labels")
    parser.add_argument(
        "--from",
        dest="kind",
        required=True,
        choices=FORMATS,
        help="; ".join(f"{name}: {what}" for name, what in FORMATS.items()),
    )
    parser.add_argument("--rater", required=True, help="rater of the labels")
    parser.add_argument("--tag", help="label tag to save to (default: the rater's name)")
    parser.add_argument(
        "--anatomy", choices=sorted(ANATOMIES), default="abdomen", help="anatomy to import (default: abdomen)"
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME",
        help="name or value of the class that is the anatomy, where names do not identify it; repeatable",
    )
    parser.add_argument("--case", metavar="ID", help="case of all images")
    parser.add_argument(
        "--pattern",
        help="file names of the images: a template such as {case}_{frame}.png (* matches anything), or a regular "
        "expression with groups case and frame",
    )
    parser.add_argument(
        "--first-frame",
        type=int,
        choices=(0, 1),
        default=0,
        help="number of the first frame in file names (default: 0)",
    )
    parser.add_argument(
        "--crowd",
        action="store_true",
        help="import COCO annotations with iscrowd as outlines, for exports of CVAT's brush masks",
    )
    parser.add_argument(
        "--empty", action="store_true", help="frames without an outline were reviewed too, and are empty"
    )
    parser.add_argument("--dry-run", action="store_true", help="compare without saving")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Import; returns 2 when a case has a conflict or a problem."""
    from fetaliqa.errors import NotFoundError
    from fetaliqa.export.frame_names import FrameNames

    for path in (args.source, args.studies):  # before slow imports
        if not path.exists():
            raise NotFoundError(f"{path}: no such file or folder; check the path")
    FrameNames(case=args.case, pattern=args.pattern)

    from tqdm import tqdm

    from fetaliqa.export.incoming import Request, open_incoming
    from fetaliqa.export.label_import import import_labels, studied_images
    from fetaliqa.extras import require_extra
    from fetaliqa.measure.anatomy import anatomy_named

    if args.kind in POLYGONS:
        require_extra("export", f"reading {args.kind}", {"pycocotools": "pycocotools"})
    with tqdm(desc="read", unit="file", disable=args.quiet or None, file=sys.stderr, leave=False) as bar:
        request = Request(
            anatomy=anatomy_named(args.anatomy),
            labels=args.label,
            case=args.case,
            pattern=args.pattern,
            first_frame=args.first_frame,
            crowd=args.crowd,
            progress=moves(bar),
        )
        incoming = open_incoming(args.source, args.kind, studied_images(args.studies), request)
    about = {"format": args.kind, "name": args.source.name, "anatomy": args.anatomy}
    with tqdm(desc="import", unit="case", disable=args.quiet or None, file=sys.stderr, leave=False) as bar:
        results = import_labels(
            args.studies,
            incoming,
            args.rater,
            tag=args.tag,
            empty=args.empty,
            about=about | ({"labels": args.label} if args.label else {}),
            dry_run=args.dry_run,
            progress=moves(bar),
        )
    _show(results, incoming.unplaced, args)
    return 2 if any(result.conflicts or result.problem for result in results) else 0


def _show(results: list[ImportedCase], unplaced: list[str], args: argparse.Namespace) -> None:
    """Print the results; with --json as a list of cases, with unassigned files last."""
    from dataclasses import asdict

    if args.json:
        rows: list[dict[str, Any]] = [asdict(result) for result in results]
        print(json.dumps(rows + ([{"case_id": None, "files": unplaced}] if unplaced else []), indent=2))
        return
    for result in results:
        _print(result, args)
    if unplaced:
        print(f"skipped: {len(unplaced)} files whose names match no case: {_listed(unplaced)}")


def _print(result: ImportedCase, args: argparse.Namespace) -> None:
    if result.problem:
        print(f"fetaliqa labels: {result.problem}", file=sys.stderr)
        return
    tag = args.tag or args.rater
    counts = f"{len(result.added)} new, {len(result.same)} unchanged"
    if result.conflicts:
        print(
            f"{result.case_id}, {tag}: frames {_listed(result.conflicts)} conflict with existing labels; nothing "
            f"was saved for this case ({counts}); use another --tag, and compare with `fetaliqa labels agreement`",
            file=sys.stderr,
        )
    elif result.version is not None:
        print(f"{result.case_id}, {tag}: version {result.version} ({counts})")
    elif result.added:
        print(f"{result.case_id}, {tag}: nothing saved (dry run; {counts})")
    elif result.same:
        print(f"{result.case_id}, {tag}: unchanged ({counts})")
    else:
        print(f"{result.case_id}, {tag}: nothing to import")
    for line in _left_out(result, args.kind):
        print(f"  {line}")


def _left_out(result: ImportedCase, kind: str) -> list[str]:
    """Skipped parts of a case, one line each."""
    skipped = result.left_out
    lines = []
    if skipped.classes:
        counts = ", ".join(f"{count} of {name!r}" for name, count in sorted(skipped.classes.items()))
        lines.append(f"skipped, other classes: {counts}")
    if skipped.ignored:
        hint = "; if iscrowd marks brush masks of CVAT, add --crowd" if kind == "coco" else ""
        lines.append(f"skipped, frames with an ignored region: {_listed(skipped.ignored)}{hint}")
    if skipped.without_outline:
        lines.append(f"skipped, frames with boxes or points only: {_listed(skipped.without_outline)}")
    if skipped.joined:
        lines.append(f"frames on which several outlines were merged: {_listed(skipped.joined)}")
    return lines


def _listed(items: list[Any]) -> str:
    return ", ".join(map(str, items[:SHOWN])) + (", ..." if len(items) > SHOWN else "")
