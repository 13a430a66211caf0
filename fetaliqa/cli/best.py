"""``fetaliqa best``: the one frame of a sweep that can be measured, and nothing else."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fetaliqa.cli.argument_types import device
from fetaliqa.cli.progress_bars import moves
from fetaliqa.model.user_folders import default_model


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="sweep file, or folder of frames or sweeps"
    )
    parser.add_argument(
        "--model",
        default=default_model(),
        help=f"bundle folder, name, or name@version (default: {default_model()})",
    )
    parser.add_argument("--weights", help="foundation-model weights (default: the imported ones)")
    parser.add_argument(
        "--all-frames",
        action="store_true",
        help="evaluate every frame, not only those that may be the best (four times as long, or more)",
    )
    parser.add_argument(
        "--student",
        default="auto",
        metavar="DIR",
        help="screening model, or none (default: the bundle's, where it has one)",
    )
    parser.add_argument(
        "--sweeps", type=int, metavar="N", help="number of equal sweeps in the stack (default: found)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write each best frame with its outline as a PNG here"
    )
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--no-cache", action="store_true", help="compute anew, without the cache")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per case; frames and sweeps count from 0"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.cli.input_paths import sweeps_given
    from fetaliqa.errors import FetalIQAError, OptionError
    from fetaliqa.inference.assessment_options import AssessOptions
    from fetaliqa.registry.model_store import resolve_bundle

    options = AssessOptions.from_request({"sweep_count": args.sweeps, "search": not args.all_frames})
    model = resolve_bundle(args.model)
    cases, left_out = sweeps_given(args.paths, "best", out=args.out)
    if args.json and left_out:
        print(json.dumps({"left_out": [one.to_json() for one in left_out]}), flush=True)
    # after the checks: these load torch
    from fetaliqa.registry.assessment_service import AssessmentService, default_cache_directory

    service = AssessmentService(
        model,
        device=args.device,
        cache_dir=None if args.no_cache else default_cache_directory(),
        weights=args.weights,
        student=args.student,
    )
    if service.card.task != "segmentation" and args.out:
        raise OptionError(f"{args.model} draws no outlines; leave --out away, or choose a segmentation bundle")
    failed = 0
    for number, case in enumerate(cases):
        try:
            result = _assessed(service, case, options, args)
        except FetalIQAError as error:
            failed += 1
            print(f"fetaliqa best: {error}", file=sys.stderr)
            continue
        found = _found(result.assessment)
        if args.out and found["frame"] is not None:
            found["picture"] = str(_write_picture(args.out, result))
        if args.json:
            print(json.dumps(found), flush=True)
        else:
            _print_found(found, result.assessment, first=number == 0)
    if failed:
        print(f"fetaliqa best: {failed} of {len(cases)} inputs could not be assessed", file=sys.stderr)
    return 2 if failed else 0


def _assessed(service: Any, case: Path, options: Any, args: argparse.Namespace) -> Any:
    from tqdm import tqdm

    from fetaliqa.sweep import case_id_of

    shown = {"desc": case_id_of(case)[:24], "unit": "frame"}
    with tqdm(**shown, disable=args.quiet or None, file=sys.stderr, leave=False) as bar:
        return service.assess(case, options, moves(bar))


def _found(record: dict[str, Any]) -> dict[str, Any]:
    from fetaliqa.batch.case_summary import summary_row

    row, measurement = summary_row(record), record["model"]["measurement"]
    return {
        "case": row["case"],
        "frame": row["best_frame"],
        "sweep": row["best_sweep"],
        "quality": row["quality"],
        "expected_dice": row["expected_dice"],
        "distance": row["distance"],
        "measurement": measurement,
        "circumference_mm": row[f"{measurement.lower()}_mm"],
        "remark": row["note"] or None,
        "notes": record["notes"],
        "frames_looked_at": row["looked_at"],
        "frames": row["frames"],
    }


def _print_found(found: dict[str, Any], record: dict[str, Any], *, first: bool) -> None:
    if first:
        model = record["model"]
        print(f"model {model['name']} {model['version']}: {model['anatomy']}; not for clinical use")
        print("frames and sweeps are counted from 0")
    looked = f"looked at {found['frames_looked_at']} of {found['frames']} frames"
    if found["frame"] is None:
        print(f"{found['case']}: no frame; {found['remark']} ({looked})")
        _print_notes(found)
        return
    size, remark = found["circumference_mm"], found["remark"]
    parts = [f"frame {found['frame']} (sweep {found['sweep']})", f"quality {found['quality']:.3f}"]
    parts += [] if found["expected_dice"] is None else [f"expected Dice {found['expected_dice']:.2f}"]
    parts += [] if size is None else [f"{found['measurement']} {size:.1f} mm"]
    print(f"{found['case']}: {', '.join(parts)}{'' if remark is None else f'; {remark}'} ({looked})")
    _print_notes(found)
    if "picture" in found:
        print(f"  {found['picture']}")


def _print_notes(found: dict[str, Any]) -> None:
    """What is to be said of the whole case."""
    for note in found["notes"]:
        print(f"  note: {note}")


def _write_picture(folder: Path, result: Any) -> Path:
    from PIL import Image

    from fetaliqa.atomic import atomic_path
    from fetaliqa.case_names import MAX_FILE_NAME_BYTES, fitting
    from fetaliqa.measure import Ellipse
    from fetaliqa.pictures.frame_picture import frame_picture

    record = result.assessment
    frame = record["best"]
    ellipse = record["frames"][frame].get("ellipse")
    picture = frame_picture(
        result.sweep.frames[frame], result.masks[frame], None if ellipse is None else Ellipse(**ellipse)
    )
    folder.mkdir(parents=True, exist_ok=True)
    ending = f"_frame{frame}.png"
    path = folder / f"{fitting(record['case_id'], MAX_FILE_NAME_BYTES - len(ending))}{ending}"
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
    return path
