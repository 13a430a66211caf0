"""``fetaliqa score``: assess sweeps from the command line."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fetaliqa.cli.assessment_arguments import add_assessment_arguments, setup_from
from fetaliqa.cli.progress_bars import CaseBars

if TYPE_CHECKING:
    from fetaliqa.batch.batch_job import Case, CaseWriter, Outcome, ScoreJob
    from fetaliqa.batch.batch_run import Engine
    from fetaliqa.inference.assessment_options import AssessOptions
    from fetaliqa.measure.fetal_growth import GestationalAge
    from fetaliqa.registry import AssessmentService
    from fetaliqa.registry.assessment_setup import AssessmentSetup
    from fetaliqa.sweep.case_paths import LeftOut


MAX_COUNT = 1024  # of processes or threads; more is a mistake


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="sweep file, folder of frames, or folder of sweeps"
    )
    add_assessment_arguments(parser)
    parser.add_argument("--cls-model", help="classification bundle whose probability joins the quality score")
    parser.add_argument(
        "--top", type=int, default=5, metavar="N", help="number of distinct frames to rank (default: 5)"
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="evaluate only frames that may be the best of a sweep; quality of the others is interpolated",
    )
    parser.add_argument(
        "--screen",
        action="store_true",
        help="evaluate only frames selected by the screening model; the others get a predicted quality, no mask",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "fp32", "bf16"),
        help="of the encoder (default: bf16 for a large one on CUDA and on CPUs that support it, else fp32)",
    )
    parser.add_argument("--threshold", type=float, help="pixel probability threshold (default: the bundle's)")
    age = parser.add_mutually_exclusive_group()
    age.add_argument(
        "--ga",
        metavar="AGE",
        help="gestational age of the case by dates or an earlier scan, such as 24w3d (default: a DICOM header's)",
    )
    age.add_argument(
        "--ga-table", type=Path, metavar="CSV", help="gestational ages of the cases: columns case and age"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write masks, tables, JSON and a contact sheet per case here"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip completed cases: those that --out holds of the same input, model and options",
    )
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="score N cases at a time, each in a process (default: 1; on a cluster, as many as there is room for)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="of each process (default: the cores divided among processes; on a cluster 1)",
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
    parser.add_argument(
        "--format",
        choices=("sr",),
        help="also write a DICOM measurement report (SR) of each case, with its segmentation; needs --out",
    )
    parser.add_argument("--mask-format", default=".mha", choices=[".mha", ".nii.gz", ".nrrd"])
    parser.add_argument("--each", action="store_true", help="images in a folder are cases of one frame each")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object per case instead of a table; in both, frames and sweeps count from 0",
    )


def run(args: argparse.Namespace) -> int:
    from fetaliqa.batch.batch_job import FAILED, SKIPPED, Part
    from fetaliqa.errors import OptionError
    from fetaliqa.measure.fetal_growth import GestationalAge

    if args.resume and not args.out:
        raise OptionError("--resume skips completed cases of a folder; name the folder with --out")
    if args.format and not args.out:
        raise OptionError(f"--format {args.format} writes files into a folder; name the folder with --out")
    for name in ("processes", "threads"):
        if (count := getattr(args, name)) is not None and not 1 <= count <= MAX_COUNT:
            raise OptionError(f"{name} is {count}; it must be a whole number from 1 to {MAX_COUNT}")
    part = None if args.shard is None else Part.parse(args.shard)
    age = None if args.ga is None else GestationalAge.parse(args.ga, "--ga")
    setup = _setup(args)
    cases, left_out = _cases(args)
    cases = _with_ages(args, age, cases)
    cases = cases if part is None else part.choose(cases)
    with contextlib.ExitStack() as stack:  # all that needs no torch has been checked
        ray = stack.enter_context(_cluster(args)) if args.engine == "ray" else None
        job, service = _job(args, ray, setup, cases)
        outcomes = _score(args, ray, job, service, cases)
    failed = sum(outcome.status == FAILED for outcome in outcomes)
    skipped = sum(outcome.status == SKIPPED for outcome in outcomes)
    if job.out is not None:
        from fetaliqa.batch.batch_tables import write_tables

        write_tables(job, outcomes, left_out, suffix="" if part is None else part.suffix)
        if skipped:
            print(f"skipped {skipped} completed of {len(cases)} cases", file=sys.stderr)
        print(f"written to {args.out}", file=sys.stderr)
    if failed:
        print(f"fetaliqa score: {failed} of {len(cases)} inputs could not be assessed", file=sys.stderr)
        return 2
    return 0


def _setup(args: argparse.Namespace) -> AssessmentSetup:
    # a cluster's machines have a cache each, which would answer few requests; done markers serve all machines
    return setup_from(
        args,
        _options(args),
        classifier=args.cls_model,
        precision=args.precision,
        cache=args.engine != "ray",
    )


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


def _cases(args: argparse.Namespace) -> tuple[list[Case], list[LeftOut]]:
    from fetaliqa.batch.batch_job import Case
    from fetaliqa.cli.input_paths import sweeps_given

    paths, left_out = sweeps_given(args.paths, "score", each=args.each, out=args.out)
    if args.json and left_out:
        print(json.dumps({"left_out": [one.to_json() for one in left_out]}), flush=True)
    return list(map(Case.of, paths)), left_out


def _with_ages(args: argparse.Namespace, age: GestationalAge | None, cases: list[Case]) -> list[Case]:
    from fetaliqa.errors import OptionError

    if args.ga_table is not None:
        from fetaliqa.batch.age_table import with_ages

        return with_ages(cases, args.ga_table)
    if age is not None and len(cases) > 1:
        raise OptionError(
            f"--ga is the age of one case, and {len(cases)} are given; name each case's age in a CSV file with "
            "the columns case and age, and give it with --ga-table"
        )
    return [replace(case, age=age) for case in cases]


def _cluster(args: argparse.Namespace) -> contextlib.AbstractContextManager[Any]:
    from fetaliqa.batch.ray_engine import cluster
    from fetaliqa.errors import OptionError

    if not args.out:
        raise OptionError("--engine ray writes results to a folder that all machines see; name it with --out")
    return cluster(args.address, args.processes and args.processes * (args.threads or 1))


def _also(args: argparse.Namespace, model: dict[str, Any], cases: list[Case]) -> CaseWriter | None:
    """What writes the files of --format.

    Raises:
        FetalIQAError: when the model does not fit, or nothing can be written of any case.
    """
    if args.format is None:
        return None
    from fetaliqa.errors import FetalIQAError
    from fetaliqa.export.report.assessed_report import ReportWriter

    writer, problem = ReportWriter(), None
    writer.check_model(model)
    for case in cases:
        try:
            writer.check_input(case.path)
        except FetalIQAError as error:
            problem = problem or error
        else:
            return writer
    if problem is not None:
        raise problem  # rather than a folder of results without a case
    return writer


def _job(
    args: argparse.Namespace, ray: Any, setup: AssessmentSetup, cases: list[Case]
) -> tuple[ScoreJob, AssessmentService]:
    """The job, and the service that this process scores with."""
    from fetaliqa.batch.batch_job import ScoreJob
    from fetaliqa.batch.case_folder import remove_unfinished
    from fetaliqa.batch.ray_engine import device_of, results_id
    from fetaliqa.registry import AssessmentService

    service = AssessmentService(setup)
    device = str(service.computed_on()["device"]) if ray is None else device_of(ray, setup.device)
    # refuses what cannot be done, before anything is written
    made_with = service.made_with(device=device)
    also = _also(args, service.model_info(), cases)
    out = None if args.out is None else args.out.absolute()
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        remove_unfinished(out)
    job = ScoreJob(
        setup=replace(setup, device=device, precision=made_with["precision"]),
        made_with=made_with,
        measurement=service.model_info()["measurement"],
        out=out,
        out_id=None if ray is None or out is None else results_id(out),
        mask_format=args.mask_format,
        also=also,
        resume=args.resume,
    )
    return job, service


def _score(
    args: argparse.Namespace, ray: Any, job: ScoreJob, service: AssessmentService, cases: list[Case]
) -> list[Outcome]:
    from fetaliqa.batch.batch_job import FAILED
    from fetaliqa.batch.batch_run import in_order, score_cases
    from fetaliqa.batch.case_folder import remove_unfinished
    from fetaliqa.cli.score_table import print_outcome

    outcomes: list[Outcome] = []
    printed = 0
    with CaseBars(len(cases), quiet=args.quiet) as bars:
        engine = _engine(args, ray, job, service, len(cases), bars)
        try:
            for outcome in in_order(cases, bars.counted(score_cases(engine, cases))):
                outcomes.append(outcome)
                if outcome.status == FAILED:
                    bars.say(f"fetaliqa score: {outcome.reason}")
                    continue
                if outcome.note is not None:
                    bars.say(f"fetaliqa score: {outcome.case.name}: {outcome.note}")
                with bars.aside():
                    print_outcome(job, outcome, as_json=args.json, first=printed == 0)
                printed += 1
        except KeyboardInterrupt:
            if job.out is not None:
                bars.say(
                    f"{bars.done} of {len(cases)} cases completed; continue with the same command and --resume"
                )
            raise
    if job.out is not None:
        remove_unfinished(job.out)  # of processes of this run that died
    return outcomes


def _engine(
    args: argparse.Namespace, ray: Any, job: ScoreJob, service: AssessmentService, cases: int, bars: CaseBars
) -> Engine:
    from fetaliqa.batch.case_scorer import Scorer
    from fetaliqa.batch.local_engine import Processes, ThisProcess
    from fetaliqa.batch.ray_engine import OnRay

    if ray is not None:
        return OnRay(
            ray,
            job,
            cases,
            at_once=args.processes,
            threads=args.threads or 1,
            notice=lambda sentence: bars.say(f"fetaliqa score: {sentence}"),
        )
    processes = min(args.processes or 1, cases)
    if processes <= 1:
        return ThisProcess(Scorer(job, service), lambda case: bars.frames(case.name), args.threads)
    return Processes(job, processes, args.threads)
