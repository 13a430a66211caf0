"""``fetaliqa score``: assess sweeps from the command line."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

FRAME_COLUMNS = (
    "index",
    "sweep",
    "padding",
    "quality",
    "positive",
    "interpolated",
    "rank",
    "foreground_fraction",
    "area_px",
    "area_mm2",
    "circumference_mm",
    "circumference_absent",
    "warning",
    "fit_residual",
    "fitted_share",
    "cls_probability",
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="sweep file, folder of frames, or folder of sweeps"
    )
    parser.add_argument(
        "--model", default="demo", help="bundle folder, name, name@version, or demo (default: demo, phantoms only)"
    )
    parser.add_argument("--cls-model", help="classification bundle whose probability joins the quality score")
    parser.add_argument("--weights", help="foundation-model weights (default: the imported ones)")
    parser.add_argument(
        "--top", type=int, default=5, metavar="N", help="how many different looks to rank (default: 5)"
    )
    parser.add_argument(
        "--sweeps", type=int, metavar="N", help="number of equal sweeps in the stack (default: found)"
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="look only at frames that may be a sweep's best; quality of the others is interpolated",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "fp32", "bf16"),
        help="of the encoder (default: bf16 for a large one on CUDA and on CPUs that have it, else fp32)",
    )
    parser.add_argument("--threshold", type=float, help="pixel probability threshold (default: the bundle's)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write masks, tables, JSON and a contact sheet per case here"
    )
    parser.add_argument("--mask-format", default=".mha", choices=[".mha", ".nii.gz", ".nrrd"])
    parser.add_argument("--each", action="store_true", help="images in a folder are cases of one frame each")
    parser.add_argument("--no-cache", action="store_true", help="compute even what was computed before")
    parser.add_argument("--json", action="store_true", help="print one JSON object per case instead of a table")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.errors import FetalIQAError, OptionError
    from fetaliqa.inference import AssessmentService, AssessOptions
    from fetaliqa.inference.cases import expand_cases
    from fetaliqa.inference.service import default_cache_directory
    from fetaliqa.sweep import case_id_of

    options = AssessOptions.from_request(
        {"top_n": args.top, "sweep_count": args.sweeps, "threshold": args.threshold, "search": args.search}
    )
    cases = [case for path in args.paths for case in expand_cases(path, each=args.each)]
    names = [case_id_of(case) for case in cases]
    if args.out and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise OptionError(
            f"two inputs are called {twice!r} and would overwrite each other in {args.out}; run them apart"
        )
    service = AssessmentService(
        args.model,
        classifier_spec=args.cls_model,
        device=args.device,
        cache_dir=None if args.no_cache else default_cache_directory(),
        weights=args.weights,
        precision=args.precision,
    )
    failed = 0
    rows: list[dict[str, Any]] = []
    for case, name in zip(cases, names):
        try:
            record = _one_case(service, case, name, options, args)
        except FetalIQAError as error:
            failed += 1
            print(f"fetaliqa score: {error}", file=sys.stderr)
            continue
        rows.append(_summary(record))
        if args.json:
            print(json.dumps(record), flush=True)
        else:
            _print_case(record, first=len(rows) == 1)
    if args.out and rows:
        _write_csv(args.out / "summary.csv", list(rows[0]), rows)
        print(f"written to {args.out}", file=sys.stderr)
    if failed:
        print(f"fetaliqa score: {failed} of {len(cases)} inputs could not be assessed", file=sys.stderr)
        return 2
    return 0


def _one_case(service: Any, case: Path, name: str, options: Any, args: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm

    with tqdm(desc=name[:24], unit="frame", disable=args.quiet or None, file=sys.stderr, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = service.assess(case, options, progress)
    record = result.assessment
    if args.out:
        _write_case(args.out / name, result, args.mask_format)
    return record


def _write_case(folder: Path, result: Any, mask_format: str) -> None:
    from fetaliqa.atomic import write_json
    from fetaliqa.report.contact_sheet import contact_sheet

    folder.mkdir(parents=True, exist_ok=True)
    record = result.assessment
    if record["model"]["task"] == "segmentation":
        result.write_masks(folder / f"masks{mask_format}")
    write_json(folder / "assessment.json", record)
    ranks = {frame: rank for rank, frame in enumerate(record["ranking"], start=1)}
    rows = [frame | {"rank": ranks.get(frame["index"])} for frame in record["frames"]]
    _write_csv(folder / "frames.csv", FRAME_COLUMNS, rows)
    contact_sheet(folder / "contact_sheet.png", frames=result.sweep.frames, masks=result.masks, assessment=record)


def _write_csv(path: Path, columns: Any, rows: list[dict[str, Any]]) -> None:
    from fetaliqa.atomic import atomic_path

    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    best = record["frames"][record["best"]] if record["best"] is not None else {}
    return {
        "case": record["case_id"],
        "frames": sum(not frame["padding"] for frame in record["frames"]),
        "sweeps": len(record["sweeps"]),
        "looked_at": sum(frame["positive"] is not None for frame in record["frames"]),
        "positive": sum(bool(frame["positive"]) for frame in record["frames"]),
        "best_frame": record["best"],
        "best_sweep": best.get("sweep"),
        "quality": best.get("quality"),
        f"{record['model']['measurement'].lower()}_mm": best.get("circumference_mm"),
        "note": record["reason"] or best.get("circumference_absent") or best.get("warning") or "",
    }


def _print_case(record: dict[str, Any], *, first: bool) -> None:
    measurement = record["model"]["measurement"]
    if first:
        model = record["model"]
        print(f"model {model['name']} {model['version']}: {model['anatomy']}, {measurement}; not for clinical use")
    summary = _summary(record)
    print(
        f"\n{summary['case']}: {summary['frames']} frames in {summary['sweeps']} sweep(s), "
        f"{summary['positive']} show the {record['model']['anatomy']}"
    )
    for note in record["notes"]:
        print(f"  note: {note}")
    if record["best"] is None:
        print(f"  {record['reason']}")
        return
    print(f"  {'rank':>4} {'frame':>6} {'sweep':>6} {'quality':>8} {measurement + ' mm':>8}  remark")
    for rank, index in enumerate(record["ranking"], start=1):
        frame = record["frames"][index]
        value = frame.get("circumference_mm")
        remark = frame.get("circumference_absent") or frame.get("warning") or ""
        print(
            f"  {rank:>4} {index:>6} {frame['sweep'] + 1:>6} {frame['quality']:>8.3f} "
            f"{'-' if value is None else format(value, '.1f'):>8}  {remark}"
        )
