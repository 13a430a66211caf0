"""``fetaliqa score``: assess sweeps from the command line."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fetaliqa.cli.argument_types import device
from fetaliqa.cli.progress_bars import moves
from fetaliqa.model.user_folders import default_model

if TYPE_CHECKING:
    from fetaliqa.batch.batch_job import Case, Outcome, ScoreJob
    from fetaliqa.batch.batch_run import Engine
    from fetaliqa.inference.assessment_options import AssessOptions
    from fetaliqa.sweep.case_paths import LeftOut


MAX_COUNT = 1024  # of processes or threads; more is a mistake


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="sweep file, folder of frames, or folder of sweeps"
    )
    parser.add_argument(
        "--model",
        default=default_model(),
        help=f"bundle folder, name, or name@version (default: {default_model()})",
    )
    parser.add_argument("--cls-model", help="classification bundle whose probability joins the quality score")
    parser.add_argument("--weights", help="foundation-model weights (default: the imported ones)")
    parser.add_argument(
        "--top",
        type=int,
        default=5,
        metavar="N",
        help="number of frames to rank, at least 15 frames apart (default: 5)",
    )
    parser.add_argument(
        "--sweeps", type=int, metavar="N", help="number of equal sweeps in the stack (default: found)"
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="evaluate only frames that may be a sweep's best; quality of the others is interpolated",
    )
    parser.add_argument(
        "--screen",
        action="store_true",
        help="evaluate only frames selected by the screening model; the others are estimated and have no mask",
    )
    parser.add_argument(
        "--student",
        default="auto",
        metavar="DIR",
        help="screening model for --search and --screen, or none (default: the bundle's, where it has one)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "fp32", "bf16"),
        help="of the encoder (default: bf16 for a large one on CUDA and on CPUs that have it, else fp32)",
    )
    parser.add_argument("--threshold", type=float, help="pixel probability threshold (default: the bundle's)")
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write masks, tables, JSON and a contact sheet per case here"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip cases completed in --out with the same input, model and options",
    )
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="score N cases at a time, each in a process (default: 1; on a cluster, as many as it has room for)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="of each process (default: the cores, divided among processes; on a cluster 1)",
    )
    parser.add_argument(
        "--engine",
        default="local",
        choices=("local", "ray"),
        help="processes of this machine, or of a Ray cluster (default: local)",
    )
    parser.add_argument(
        "--address",
        default="auto",
        help="of the Ray cluster: auto, the one that this machine belongs to; HOST:PORT; local, one for this run",
    )
    parser.add_argument(
        "--shard", metavar="I/N", help="only the I-th of N parts of the cases, such as 3/100; for arrays of jobs"
    )
    parser.add_argument("--mask-format", default=".mha", choices=[".mha", ".nii.gz", ".nrrd"])
    parser.add_argument("--each", action="store_true", help="images in a folder are cases of one frame each")
    parser.add_argument("--no-cache", action="store_true", help="compute anew, without the cache")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object per case instead of a table; in both, frames and sweeps count from 0",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.batch.batch_job import FAILED, KEPT, Part
    from fetaliqa.errors import OptionError
    from fetaliqa.registry.model_store import resolve_bundle

    if args.resume and not args.out:
        raise OptionError("--resume goes on with the results in a folder; name it with --out")
    for name in ("processes", "threads"):
        if (count := getattr(args, name)) is not None and not 1 <= count <= MAX_COUNT:
            raise OptionError(f"{name} is {count}; it must be a whole number from 1 to {MAX_COUNT}")
    part = None if args.shard is None else Part.parse(args.shard)
    options = _options(args)
    model = resolve_bundle(args.model).absolute()
    classifier = None if args.cls_model is None else resolve_bundle(args.cls_model).absolute()
    cases, left_out = _cases(args)
    cases = cases if part is None else part.choose(cases)
    with contextlib.ExitStack() as stack:  # all that needs no torch has been checked
        ray = stack.enter_context(_cluster(args)) if args.engine == "ray" else None
        job = _job(args, ray, options, model, classifier)
        outcomes = _score(args, ray, job, cases)
    failed = sum(outcome.status == FAILED for outcome in outcomes)
    kept = sum(outcome.status == KEPT for outcome in outcomes)
    if job.out is not None:
        from fetaliqa.batch.batch_tables import write_tables

        write_tables(job, outcomes, left_out, suffix="" if part is None else part.suffix)
        if kept:
            print(f"{kept} of {len(cases)} cases were done before", file=sys.stderr)
        print(f"written to {args.out}", file=sys.stderr)
    if failed:
        print(f"fetaliqa score: {failed} of {len(cases)} inputs could not be assessed", file=sys.stderr)
        return 2
    return 0


def _cluster(args: argparse.Namespace) -> contextlib.AbstractContextManager[Any]:
    from fetaliqa.batch.ray_engine import cluster
    from fetaliqa.errors import OptionError

    if not args.out:
        raise OptionError("--engine ray writes results to a folder that all machines see; name it with --out")
    return cluster(args.address, args.processes and args.processes * (args.threads or 1))


def _score(args: argparse.Namespace, ray: Any, job: ScoreJob, cases: list[Case]) -> list[Outcome]:
    from fetaliqa.batch.batch_job import FAILED
    from fetaliqa.batch.batch_run import in_order, score_cases
    from fetaliqa.batch.case_folder import remove_unfinished

    outcomes: list[Outcome] = []
    shown = 0
    with _Bars(len(cases), quiet=args.quiet) as bars:
        engine = _engine(args, ray, job, len(cases), bars)
        try:
            for outcome in in_order(cases, bars.counted(score_cases(engine, cases))):
                outcomes.append(outcome)
                if outcome.status == FAILED:
                    bars.say(f"fetaliqa score: {outcome.reason}", sys.stderr)
                    continue
                with bars.aside():
                    _show(job, outcome, as_json=args.json, first=shown == 0)
                shown += 1
        except KeyboardInterrupt:
            if job.out is not None:
                said = f"{bars.done} of {len(cases)} cases were through; the same command with --resume goes on"
                bars.say(said, sys.stderr)
            raise
    if job.out is not None:
        remove_unfinished(job.out)  # of processes of this run that died
    return outcomes


def _cases(args: argparse.Namespace) -> tuple[list[Case], list[LeftOut]]:
    from fetaliqa.batch.batch_job import Case
    from fetaliqa.cli.input_paths import sweeps_given

    paths, left_out = sweeps_given(args.paths, "score", each=args.each, out=args.out)
    if args.json and left_out:
        print(json.dumps({"left_out": [one.to_json() for one in left_out]}), flush=True)
    return list(map(Case.of, paths)), left_out


def _options(args: argparse.Namespace) -> AssessOptions:
    from fetaliqa.inference.assessment_options import AssessOptions

    return AssessOptions.from_request(
        {
            "top_n": args.top,
            "sweep_count": args.sweeps,
            "threshold": args.threshold,
            "search": args.search,
            "screen": args.screen,
        }
    )


def _job(
    args: argparse.Namespace, ray: Any, options: AssessOptions, model: Path, classifier: Path | None
) -> ScoreJob:
    import torch

    from fetaliqa.batch.batch_job import ScoreJob
    from fetaliqa.batch.case_folder import remove_unfinished
    from fetaliqa.batch.ray_engine import device_of, results_id
    from fetaliqa.inference import choose_device
    from fetaliqa.model.bundle_names import AUTO, NONE
    from fetaliqa.registry import AssessmentService
    from fetaliqa.registry.assessment_service import default_cache_directory

    student = args.student if args.student in (AUTO, NONE) else str(Path(args.student).expanduser().absolute())
    service = AssessmentService(model, classifier_spec=classifier, precision=args.precision, student=student)
    device = choose_device(args.device) if ray is None else torch.device(device_of(ray, args.device))
    made_with = service.made_with(options, device)  # refuses what cannot be done, before anything is written
    out = None if args.out is None else args.out.absolute()
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        remove_unfinished(out)
    return ScoreJob(
        model=model,
        classifier=classifier,
        weights=args.weights,
        device=str(device),
        options=options,
        made_with=made_with,
        measurement=service.model_info()["measurement"],
        student=student,
        out=out,
        out_id=None if ray is None or out is None else results_id(out),
        mask_format=args.mask_format,
        # a cluster's machines have a cache each, which would answer few; the done marks answer for all
        cache_dir=None if args.no_cache or ray is not None else default_cache_directory(),
        resume=args.resume,
    )


def _engine(args: argparse.Namespace, ray: Any, job: ScoreJob, cases: int, bars: _Bars) -> Engine:
    from fetaliqa.batch.local_engine import Processes, ThisProcess
    from fetaliqa.batch.ray_engine import OnRay

    if ray is not None:
        threads = args.threads or 1
        return OnRay(
            ray,
            job,
            cases,
            at_once=args.processes,
            threads=threads,
            notice=lambda sentence: bars.say(f"fetaliqa score: {sentence}", sys.stderr),
        )
    processes = min(args.processes or 1, cases)
    if processes <= 1:
        return ThisProcess(job, bars.frames, args.threads)
    return Processes(job, processes, args.threads)


class _Bars:
    """A progress bar over the cases when there are several, and one over the frames of the case at hand."""

    def __init__(self, cases: int, *, quiet: bool) -> None:
        from tqdm import tqdm

        self.done = 0
        self._quiet = quiet or None
        self._tqdm = tqdm
        self._cases = self._bar(total=cases, desc="cases", unit="case") if cases > 1 else None
        self._frames: Any = None

    def _bar(self, **how: Any) -> Any:
        return self._tqdm(disable=self._quiet, file=sys.stderr, leave=False, **how)

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in (self._frames, self._cases):
            if bar is not None:
                bar.close()

    def counted(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Pass outcomes on as they come."""
        for outcome in outcomes:
            self.done += 1
            if self._cases is not None:
                self._cases.update()
            yield outcome

    def frames(self, case: Case) -> Any:
        """The progress callback of a case."""
        if self._frames is not None:
            self._frames.close()
        self._frames = self._bar(desc=case.name[:24], unit="frame")
        return moves(self._frames)

    def aside(self) -> Any:
        """While it lasts, what is printed does not run into the bars."""
        return self._tqdm.external_write_mode(file=sys.stdout)

    def say(self, sentence: str, stream: Any) -> None:
        """A line above the bars."""
        self._tqdm.write(sentence, file=stream)


def _show(job: ScoreJob, outcome: Outcome, *, as_json: bool, first: bool) -> None:
    from fetaliqa.batch.case_folder import ASSESSMENT_FILE

    record = outcome.record
    if record is None:
        assert job.out is not None
        record = json.loads((job.out / outcome.case.name / ASSESSMENT_FILE).read_text(encoding="utf-8"))
    if as_json:
        print(json.dumps(record), flush=True)
    else:
        _print_case(record, first=first)


def _print_case(record: dict[str, Any], *, first: bool) -> None:
    from fetaliqa.batch.case_summary import remark, summary_row

    measurement = record["model"]["measurement"]
    if first:
        model = record["model"]
        print(f"model {model['name']} {model['version']}: {model['anatomy']}, {measurement}; not for clinical use")
        print("frames and sweeps are counted from 0")
    summary = summary_row(record)
    print(
        f"\n{summary['case']}: {summary['frames']} frames in {summary['sweeps']} sweep(s), "
        f"{summary['positive']} show the {record['model']['anatomy']}"
        + (f" ({summary['looked_at']} looked at)" if summary["looked_at"] < summary["frames"] else "")
    )
    for note in record["notes"]:
        print(f"  note: {note}")
    if record["best"] is None:
        print(f"  {record['reason']}")
        return
    told = any("expected_dice" in record["frames"][index] for index in record["ranking"])
    columns = f"{'rank':>4} {'frame':>6} {'sweep':>6} {'quality':>8} {'expected Dice' if told else ''}"
    print(f"  {columns.rstrip()} {measurement + ' mm':>8}  remark")
    for rank, index in enumerate(record["ranking"], start=1):
        frame = record["frames"][index]
        value = frame.get("circumference_mm")
        dice = f" {format(frame['expected_dice'], '.2f'):>13}" if told else ""
        print(
            f"  {rank:>4} {index:>6} {frame['sweep']:>6} {frame['quality']:>8.3f}{dice} "
            f"{'-' if value is None else format(value, '.1f'):>8}  {remark(frame)}"
        )
