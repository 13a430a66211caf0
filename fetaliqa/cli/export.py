"""``fetaliqa export``: export annotated frames in the formats of other software."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fetaliqa.cli.argument_types import device, existing
from fetaliqa.export.format_names import FORMATS

LISTS = ("states", "planes", "raters", "cases")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=existing, metavar="STUDIES", help="studies, ACOUSLIC-AI folder, HC18, or sweeps"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to create")
    parser.add_argument(
        "--format",
        default="png",
        choices=list(FORMATS),
        metavar="FORMAT",
        help="; ".join(f"{name}: {what}" for name, (_, what) in FORMATS.items()) + " (default: png)",
    )
    _add_selection(parser)
    _add_writing(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what would be written, and write nothing")
    parser.add_argument("--json", action="store_true", help="print the data card as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("selection", "all conditions must hold; lists are written as a,b,c")
    group.add_argument(
        "--states", metavar="LIST", help="annotated, empty, proposed (default: annotated,empty: confirmed frames)"
    )
    group.add_argument("--planes", metavar="LIST", help="of optimal, suboptimal, ungraded (default: all frames)")
    group.add_argument("--min-quality", type=float, metavar="Q", help="least quality score, 0 to 1; needs --model")
    group.add_argument("--top", type=int, metavar="N", help="only the best N of each case or sweep; needs --model")
    group.add_argument("--per", choices=("case", "sweep"), help="what --top counts in (default: case)")
    group.add_argument("--gap", type=int, metavar="N", help="frames between two of --top, at least (default: 15)")
    group.add_argument("--best", action="store_true", help="the best frame of each case: --top 1")
    group.add_argument("--raters", metavar="LIST", help="raters of the frame")
    group.add_argument("--since", metavar="DATE", help="labels from this day (2026-01-31) or time on")
    group.add_argument("--until", metavar="DATE", help="labels up to this day or time")
    group.add_argument("--cases", metavar="LIST", help="names of cases, or @FILE with one a line")


def _add_writing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="bundle that scores frames and proposes outlines: folder, name, or demo")
    parser.add_argument("--weights", help="foundation-model weights (default: the imported ones)")
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--kind", default="auto", help="acouslic, hc18 or studies (default: detected)")
    parser.add_argument("--anatomy", help="outlined anatomy, if it is not the abdomen")
    parser.add_argument("--name", default="FetalIQA export", help="name of the data set, for its card")
    parser.add_argument("--licence", metavar="TEXT", help="licence of the data, for its card")
    parser.add_argument(
        "--classes",
        default="plane",
        choices=("plane", "anatomy"),
        help="one class per plane (default), or a single class",
    )
    parser.add_argument(
        "--split", type=existing, metavar="FILE", help="split of `fetaliqa data split` (default: by subject)"
    )
    parser.add_argument(
        "--pseudonyms",
        type=Path,
        metavar="KEY",
        help="rename cases, subjects and raters; keep KEY: it is the way back",
    )
    parser.add_argument("--blank-outside", action="store_true", help="set pixels outside of the sector to black")
    parser.add_argument(
        "--sector-preview", type=Path, metavar="PNG", help="image of what is blanked, to check; do not pass it on"
    )
    parser.add_argument("--parquet", action="store_true", help="the manifest as Parquet too")
    parser.add_argument("--report", action="store_true", help="also write report.html, one file")
    parser.add_argument("--skip-unreadable", action="store_true", help="skip cases that cannot be read")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.errors import OptionError
    from fetaliqa.export.export_options import ExportOptions
    from fetaliqa.export.export_run import run_export
    from fetaliqa.export.export_source import ExportSource
    from fetaliqa.export.formats.format_registry import writer_named

    selection = _selection(args)
    _require(args, writer_named(args.format).modules)
    if args.out.exists() and not args.dry_run:
        raise OptionError(f"{args.out} exists already; choose a new folder")
    options = ExportOptions(
        format=args.format,
        name=args.name,
        classes=args.classes,
        split=args.split,
        pseudonyms=args.pseudonyms,
        blank=args.blank_outside,
        preview=args.sector_preview,
        parquet=args.parquet,
        licence=args.licence,
        skip_unreadable=args.skip_unreadable,
        report=args.report,
    )
    source = ExportSource(
        args.folder,
        kind=args.kind,
        anatomy=args.anatomy,
        service=_service(args),
        proposals=selection.takes_proposals,
        raters=args.report,
    )
    about = _with_bar(source, None if args.dry_run else args.out, selection, options, args.quiet, run_export)
    if args.json:
        print(json.dumps(about, indent=2, allow_nan=False))
    else:
        _print(about, args)
    return 0


def _selection(args: argparse.Namespace) -> Any:
    from fetaliqa.datasets.csv_text import csv_text
    from fetaliqa.errors import NotFoundError, OptionError
    from fetaliqa.export.frame_selection import Selection

    names = ("min_quality", "top", "per", "gap", "since", "until")
    values: dict[str, Any] = {name: getattr(args, name) for name in names}
    for name in LISTS:
        text = getattr(args, name)
        if text is not None and name == "cases" and text.startswith("@"):
            path = Path(text[1:])
            if not path.is_file():
                raise NotFoundError(f"{path}: no such list of cases; check the path")
            text = ",".join(csv_text(path).read().splitlines())
        values[name] = None if text is None else [word for part in text.split(",") if (word := part.strip())]
    if args.best:
        if args.top not in (None, 1):
            raise OptionError(f"--best means --top 1, but --top {args.top} is given; omit one of them")
        values["top"] = 1
    return Selection.from_json(values)


def _require(args: argparse.Namespace, modules: dict[str, str]) -> None:
    from fetaliqa.extras import require_extra

    required = dict(modules)
    if args.parquet:
        required["pyarrow"] = "pyarrow"
    if args.report:
        required["jinja2"] = "jinja2"
    require_extra("export", f"this export ({args.format})", required)


def _service(args: argparse.Namespace) -> Any:
    if args.model is None:
        return None
    from fetaliqa.registry import AssessmentService
    from fetaliqa.registry.assessment_setup import default_cache_directory

    return AssessmentService(
        args.model, device=args.device, cache_dir=default_cache_directory(), weights=args.weights
    )


def _with_bar(source: Any, out: Path | None, selection: Any, options: Any, quiet: bool, export: Any) -> Any:
    from tqdm import tqdm

    with tqdm(desc="export", unit="case", disable=quiet or None, file=sys.stderr) as bar:

        def progress(done: int, total: int, frames: int) -> None:
            bar.total = total
            bar.set_postfix_str(f"{frames} frames", refresh=False)
            bar.update(done - bar.n)

        return export(source, out, selection, options, progress)


def _print(about: dict[str, Any], args: argparse.Namespace) -> None:
    counts = about["counts"]

    def listed(key: str) -> str:
        return ", ".join(f"{number} {name}" for name, number in counts[key].items())

    does = "would write" if args.dry_run else "wrote"
    print(f"{does} {counts['frames']} frames of {counts['cases']} cases as {about['format']}")
    for title, key in (("state", "states"), ("plane", "planes"), ("rater", "raters"), ("part", "parts")):
        if counts[key]:
            print(f"  by {title}: {listed(key)}")
    for note in about["notes"]:
        print(f"note: {note}", file=sys.stderr)
    if args.sector_preview is not None:
        print(f"check {args.sector_preview} before sharing the export, and do not share it")
    if not args.dry_run:
        print(f"{args.out}: see README.md")
