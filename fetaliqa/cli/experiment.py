"""``fetaliqa experiment``: reproduce the paper's tables and figures on a data set or, reduced, on phantoms."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fetaliqa.cli.argument_types import existing, existing_folder
from fetaliqa.extras import require_extra

if TYPE_CHECKING:
    from fetaliqa.lab.paper_tables import Outcome, Study

# as in fetaliqa.lab.paper_tables, without its slow import
NAMES = ("table1", "table2", "table3", "table4", "fig2", "fig3", "classic", "structures", "parameters", "recipes")
EPILOG = """\
table1      the eight models of the paper
table2      FetalCLIP_SEG against FetalCLIP_CLS; any outline, or optimal planes only
table3      linear probe, full fine-tuning and LoRA
table4      pre-training of the encoder
fig2        PCA and t-SNE of penultimate features
fig3        outlines beside the experts'
classic     image quality measures: classic ones, and networks trained on the same frames
structures  how well the measure after FUIQA finds abdomen, stomach and umbilical vein of phantoms
parameters  trainable parameters beside the paper's
recipes     the paper's, the released code's and our way of training, and what each part of ours is worth
all         all of these

The numbering is ours: the paper's full text was not available. What is done is kept in the work folder: the same
command goes on where it was stopped, and several may run at a time."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("name", metavar="NAME", choices=(*NAMES, "all"), help=f"{', '.join(NAMES)}, or all")
    parser.add_argument(
        "data",
        nargs="?",
        type=existing_folder,
        metavar="DATA",
        help="labelled data set (with --reduced: phantoms by default)",
    )
    parser.add_argument(
        "--work", type=Path, required=True, metavar="DIR", help="folder for all intermediate results"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the report (default: WORK/report)")
    parser.add_argument(
        "--reduced", action="store_true", help="small models with random weights in place of FetalCLIP"
    )
    parser.add_argument("--kind", default="auto", help="kind of the data set (default: auto, detected)")
    parser.add_argument("--anatomy", help="outlined anatomy of a studies folder (default abdomen)")
    parser.add_argument(
        "--split", type=existing, metavar="FILE", help="split file (default: the paper's; reduced: by subject)"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="trials of each model (default: 5; reduced: 3)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="random seed of the first trial (default 0)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change a field of every recipe"
    )
    parser.add_argument(
        "--parts",
        metavar="A,B",
        help="for recipes: ablate only these parts, one at a time (A+B: both together); 'none' for none (default: "
        "each)",
    )
    parser.add_argument("--as-released", action="store_true", help="train as in the released code")
    parser.add_argument("--weights", metavar="FILE", help="FetalCLIP weights (default: the imported ones)")
    parser.add_argument(
        "--weights-dir",
        type=Path,
        metavar="DIR",
        help="weights of the comparison models: densenet.safetensors, ...",
    )
    parser.add_argument(
        "--stand-in", type=Path, metavar="BUNDLE", help="encoder for --reduced (default: trained, once)"
    )
    parser.add_argument(
        "--cases", type=int, default=60, metavar="N", help="phantom cases to generate (default 60)"
    )
    parser.add_argument(
        "--stills",
        type=existing_folder,
        metavar="DIR",
        help="for classic: real planes (african_abdomen, fp_abdomen, ...) to try the measures on too",
    )
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--only-done", action="store_true", help="report completed results only; no training")
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="processes to prepare frames (default 1)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run experiments and write the report; returns 1 when none of them could be run."""
    from fetaliqa.errors import OptionError

    if args.processes < 1 or args.seed < 0 or args.cases < 1:
        raise OptionError(
            f"--processes {args.processes}, --cases {args.cases}, --seed {args.seed}; at least 1, 1 and 0 needed"
        )
    out = args.out or args.work / "report"
    for folder in (args.work, out):
        if folder.exists() and not folder.is_dir():
            raise OptionError(f"{folder}: is a file; choose another folder")
    require_extra("train", "experimenting", {"lightning": "lightning", "sklearn": "scikit-learn"})
    # after the checks: these load torch
    from fetaliqa.allocator import keep_freed_memory
    from fetaliqa.lab.paper.experiment_list import run_experiment
    from fetaliqa.lab.paper.paper_report import report_json, write_report
    from fetaliqa.training.lightning_messages import quiet_lightning

    keep_freed_memory()
    quiet_lightning()
    outcomes: list[Outcome] = []
    with _Stages() as stages:
        study = _study(args, stages)
        for name in NAMES if args.name == "all" else (args.name,):
            stages.say(name)
            outcomes.append(run_experiment(study, name))
            # after each experiment, so that results are available before the last is done
            readme = write_report(outcomes, out, study, _command(args))
    if args.json:
        print(json.dumps(report_json(outcomes, study, _command(args)), allow_nan=False))
    else:
        _print(outcomes, readme)
    return 0 if any(outcome.ran for outcome in outcomes) else 1


def _study(args: argparse.Namespace, stages: _Stages) -> Study:
    from fetaliqa.cli.recipe_settings import parse_settings
    from fetaliqa.inference.devices import choose_device
    from fetaliqa.lab.paper.study_setup import open_study
    from fetaliqa.training.recipes import changed, recipe_named
    from fetaliqa.training.trainer import Machine

    choose_device(args.accelerator)
    settings = parse_settings(args.set)
    changed(recipe_named("paper"), settings)  # a misspelt field is reported before hours of training
    return open_study(
        args.data,
        args.work,
        reduced=args.reduced,
        kind=args.kind,
        anatomy=args.anatomy,
        split=args.split,
        seeds=args.seeds,
        first_seed=args.seed,
        settings=settings,
        as_released=args.as_released,
        weights=args.weights,
        weights_dir=args.weights_dir,
        stand_in=args.stand_in,
        cases=args.cases,
        machine=Machine(accelerator=args.accelerator, progress=False),
        processes=args.processes,
        parts=_parts(args.parts),
        stills=args.stills,
        only_done=args.only_done,
        report=stages.report,
    )


def _parts(text: str | None) -> tuple[str, ...] | None:
    from fetaliqa.errors import OptionError
    from fetaliqa.lab.paper.ablation import ablations

    if text is None:
        return None
    names = tuple(name for name in text.split(",") if name != "none")
    parts = tuple(ablations())
    for name in (part for together in names for part in together.split("+")):
        if name not in parts:
            raise OptionError(f"--parts: unknown part {name!r}; known: {', '.join(parts)}, or none")
    return names


def _command(args: argparse.Namespace) -> str:
    """The command with placeholders for folders, which differ between machines."""
    words = ["fetaliqa", "experiment", args.name]
    words += ["DATA"] if args.data is not None else []
    words += ["--work", "WORK"]
    words += ["--anatomy", args.anatomy] if args.anatomy is not None else []
    for name in ("split", "weights", "weights_dir", "stand_in", "stills"):
        if getattr(args, name) is not None:
            words += [f"--{name.replace('_', '-')}", name.upper()]
    words += [f"--{name.replace('_', '-')}" for name in ("reduced", "as_released") if getattr(args, name)]
    for name, default in (("seeds", None), ("seed", 0), ("cases", 60)):
        if getattr(args, name) != default:
            words += [f"--{name}", str(getattr(args, name))]
    for setting in args.set:
        words += ["--set", setting]
    words += ["--parts", args.parts] if args.parts is not None else []
    return " ".join(words)


def _print(outcomes: list[Outcome], readme: Path) -> None:
    for outcome in outcomes:
        if outcome.table is not None:
            print(outcome.table.to_markdown())
        elif outcome.picture is not None:
            for label, reason in outcome.picture.not_run.items():
                print(f"{outcome.name}: {label}: not run: {reason}")
    print(f"report: {readme}")


class _Stages:
    """Progress on standard error: bars on a terminal, else a line at the beginning of each stage."""

    def __init__(self) -> None:
        self._bars: dict[str, Any] = {}
        self._reported: set[str] = set()
        self._started = time.monotonic()

    def __enter__(self) -> _Stages:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in self._bars.values():
            bar.close()

    def say(self, stage: str) -> None:
        """Print the beginning of a stage, with the seconds since the start."""
        print(f"[{time.monotonic() - self._started:7.0f} s] {stage}", file=sys.stderr, flush=True)

    def report(self, stage: str, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            if stage not in self._reported:
                self._reported.add(stage)
                self.say(f"{stage} ({total})")
            return
        from tqdm import tqdm

        if stage not in self._bars:
            self._bars[stage] = tqdm(total=total, desc=stage, file=sys.stderr, mininterval=1, leave=False)
        self._bars[stage].update(done - self._bars[stage].n)
        if done >= total:
            self._bars.pop(stage).close()
