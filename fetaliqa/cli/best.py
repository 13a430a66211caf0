"""``fetaliqa best``: the best frame of each case, without everything else."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fetaliqa.cli.assessment_arguments import add_assessment_arguments, setup_from
from fetaliqa.cli.progress_bars import CaseBars

if TYPE_CHECKING:
    from fetaliqa.errors import FetalIQAError
    from fetaliqa.inference.case_result import AssessmentResult
    from fetaliqa.registry import AssessmentService


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="sweep file, or folder of frames or sweeps"
    )
    add_assessment_arguments(parser)
    parser.add_argument(
        "--all-frames",
        action="store_true",
        help="evaluate every frame, not only those that may be the best (at least four times as long)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write each best frame with its outline as a PNG here"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per case; frames and sweeps count from 0"
    )


def run(args: argparse.Namespace) -> int:
    from fetaliqa.cli.input_paths import sweeps_given
    from fetaliqa.errors import FetalIQAError, OptionError
    from fetaliqa.inference.assessment_options import AssessOptions

    options = AssessOptions.from_request({"sweep_count": args.sweeps, "search": not args.all_frames})
    setup = setup_from(args, options)
    cases, left_out = sweeps_given(args.paths, "best", out=args.out)
    if args.json and left_out:
        print(json.dumps({"left_out": [one.to_json() for one in left_out]}), flush=True)
    from fetaliqa.registry import AssessmentService  # after the checks: it loads torch

    service = AssessmentService(setup)
    if service.card.task != "segmentation" and args.out:
        raise OptionError(f"{args.model} draws no outlines; omit --out, or choose a segmentation bundle")
    failed = 0
    with CaseBars(len(cases), quiet=args.quiet) as bars:
        results = (_result(service, case, bars) for case in cases)
        for number, result in enumerate(bars.counted(results)):
            if isinstance(result, FetalIQAError):
                failed += 1
                bars.say(f"fetaliqa best: {result}")
                continue
            answer = _answer(result.assessment)
            if args.out and answer["frame"] is not None:
                answer["picture"] = str(_write_picture(args.out, result))
            with bars.aside():
                if args.json:
                    print(json.dumps(answer), flush=True)
                else:
                    _print_answer(answer, result.assessment, first=number == 0)
    if failed:
        print(f"fetaliqa best: {failed} of {len(cases)} inputs could not be assessed", file=sys.stderr)
    return 2 if failed else 0


def _result(service: AssessmentService, case: Path, bars: CaseBars) -> AssessmentResult | FetalIQAError:
    from fetaliqa.errors import FetalIQAError
    from fetaliqa.sweep import case_id_of

    try:
        return service.assess(case, progress=bars.frames(case_id_of(case)))
    except FetalIQAError as error:
        return error


def _answer(record: dict[str, Any]) -> dict[str, Any]:
    from fetaliqa.batch.case_summary import summary_row
    from fetaliqa.measure.anatomy import anatomy_named

    row, measurement = summary_row(record), record["model"]["measurement"]
    quantity = anatomy_named(record["model"]["anatomy"]).quantity
    return {
        "case": row["case"],
        "frame": row["best_frame"],
        "sweep": row["best_sweep"],
        "quality": row["quality"],
        "expected_dice": row["expected_dice"],
        "distance": row["distance"],
        "measurement": measurement,
        f"{quantity}_mm": row[f"{measurement.lower()}_mm"],
        "case_measurement": record["measurement"],
        "remark": row["note"] or None,
        "notes": record["notes"],
        "frames_looked_at": row["looked_at"],
        "frames": row["frames"],
    }


def _print_answer(answer: dict[str, Any], record: dict[str, Any], *, first: bool) -> None:
    from fetaliqa.measure.case_words import measurement_lines
    from fetaliqa.measure.frame_size import recorded_mm

    if first:
        model = record["model"]
        print(f"model {model['name']} {model['version']}: {model['anatomy']}; not for clinical use")
        print("frames and sweeps are counted from 0")
    evaluated = f"evaluated {answer['frames_looked_at']} of {answer['frames']} frames"
    if answer["frame"] is None:
        print(f"{answer['case']}: no frame; {answer['remark']} ({evaluated})")
        _print_notes(answer)
        return
    size, remark = recorded_mm(answer), answer["remark"]
    parts = [f"frame {answer['frame']} (sweep {answer['sweep']})", f"quality {answer['quality']:.3f}"]
    parts += [] if answer["expected_dice"] is None else [f"expected Dice {answer['expected_dice']:.2f}"]
    parts += [] if size is None else [f"{answer['measurement']} {size:.1f} mm"]
    print(f"{answer['case']}: {', '.join(parts)}{'' if remark is None else f'; {remark}'} ({evaluated})")
    for line in measurement_lines(record):
        print(f"  {line}")
    _print_notes(answer)
    if "picture" in answer:
        print(f"  {answer['picture']}")


def _print_notes(answer: dict[str, Any]) -> None:
    for note in answer["notes"]:
        print(f"  note: {note}")


def _write_picture(folder: Path, result: AssessmentResult) -> Path:
    from PIL import Image

    from fetaliqa.atomic import atomic_path
    from fetaliqa.case_names import MAX_FILE_NAME_BYTES, fitting
    from fetaliqa.pictures.frame_picture import frame_picture, shapes_of

    record = result.assessment
    frame = record["best"]
    shapes = shapes_of(record["frames"][frame])
    picture = frame_picture(result.sweep.frames[frame], result.masks[frame], **shapes)
    folder.mkdir(parents=True, exist_ok=True)
    ending = f"_frame{frame}.png"
    path = folder / f"{fitting(record['case_id'], MAX_FILE_NAME_BYTES - len(ending))}{ending}"
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
    return path
