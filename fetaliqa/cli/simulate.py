"""``fetaliqa simulate``: label-efficiency curves of the query strategies, with a simulated annotator."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from fetaliqa.cli.argument_types import existing_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from fetaliqa.lab.efficiency.simulation_data import SubsampledCase

BUDGETS = (24, 48, 96, 192, 384)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="folder of the simulation; an existing one is resumed"
    )
    parser.add_argument("--data", type=existing_folder, help="labelled data set (default: generated phantoms)")
    parser.add_argument("--kind", default="auto", help="kind of the data set (default auto)")
    parser.add_argument(
        "--base", metavar="BUNDLE", help="bundle with the encoder (default: a small one, trained once in OUT)"
    )
    parser.add_argument("--strategies", default="all", metavar="A,B", help="comma-separated (default all)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="independent repetitions (default 3)")
    parser.add_argument(
        "--budgets",
        default=",".join(map(str, BUDGETS)),
        metavar="N,N",
        help=f"labelled frames after each round (default {','.join(map(str, BUDGETS))})",
    )
    parser.add_argument("--pool-cases", type=int, default=28, metavar="N", help="cases to label (default 28)")
    parser.add_argument(
        "--test-cases", type=int, default=14, metavar="N", help="cases to evaluate on (default 14)"
    )
    parser.add_argument("--step", type=int, default=5, metavar="N", help="keep every N-th frame (default 5)")
    parser.add_argument("--frames", type=int, default=4, metavar="N", help="frames per case and query (default 4)")
    parser.add_argument(
        "--per-sweep", type=int, default=1, metavar="N", help="frames per sweep and query (default 1)"
    )
    parser.add_argument(
        "--gap", type=int, default=15, metavar="N", help="least distance between labelled frames (default 15)"
    )
    parser.add_argument(
        "--steps", type=int, default=180, metavar="N", help="training steps per round (default 180)"
    )
    parser.add_argument(
        "--full-steps", type=int, default=180, metavar="N", help="steps on all labels (default 180)"
    )
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="parallel runs (default 1)")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.cli.progress_bars import Bars
    from fetaliqa.errors import OptionError
    from fetaliqa.extras import require_extra

    for name in ("seeds", "pool_cases", "test_cases", "step", "steps", "full_steps", "processes"):
        if getattr(args, name) < 1:
            raise OptionError(f"--{name.replace('_', '-')} is {getattr(args, name)}; 1 or more is needed")
    budgets, strategies = _budgets(args.budgets), _strategies(args.strategies)
    require_extra("train", "training", {"lightning": "lightning"})
    # after the checks: these load torch
    from fetaliqa.allocator import keep_freed_memory
    from fetaliqa.lab.efficiency.annotation_simulation import Simulation, pool_size, simulate
    from fetaliqa.lab.efficiency.efficiency_report import write_report
    from fetaliqa.lab.efficiency.simulation_data import prepare_cases

    keep_freed_memory()
    pool, test, make, synthetic = _cases(args)
    with Bars() as bars:
        simulation = Simulation(
            _base(args, bars.report),
            pool,
            test,
            args.step,
            budgets,
            args.seeds,
            strategies,
            args.frames,
            args.per_sweep,
            args.gap,
            args.steps,
            args.full_steps,
        )
        prepare_cases(args.out / "cases", (*pool, *test), make, lambda *done: bars.report("prepare cases", *done))
        rows = simulate(
            args.out, simulation, processes=args.processes, progress=lambda *done: bars.report("run", *done)
        )
    frames = pool_size(args.out, simulation)
    summary = write_report(args.out, rows, simulation, frames, synthetic=synthetic)
    if args.json:
        print(json.dumps({"out": str(args.out), "synthetic": synthetic, **summary}))
        return 0
    print((args.out / "README.md").read_text(encoding="utf-8"))
    print(f"report: {args.out / 'README.md'}")
    return 0


def _budgets(text: str) -> tuple[int, ...]:
    from fetaliqa.errors import OptionError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"--budgets is {text!r}; numbers of frames such as 16,32,64 are needed") from None


def _strategies(text: str) -> tuple[str, ...]:
    from fetaliqa.active.strategies import STRATEGIES
    from fetaliqa.errors import OptionError

    names = tuple(STRATEGIES) if text == "all" else tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in STRATEGIES:
            raise OptionError(f"--strategies {text}: unknown {name!r}; known: all, {', '.join(STRATEGIES)}")
    return names


def _cases(
    args: argparse.Namespace,
) -> tuple[tuple[str, ...], tuple[str, ...], Callable[[str], SubsampledCase], bool]:
    """Cases to label and to test on, a function that creates one, and whether they are synthetic."""
    from fetaliqa.datasets.splits import subject_split
    from fetaliqa.errors import OptionError
    from fetaliqa.lab.efficiency.simulation_data import POOL_SEED, TEST_SEED, data_maker, phantom_maker
    from fetaliqa.labels.dataset_kinds import open_labelled

    if args.data is None:
        pool = tuple(f"phantom-{POOL_SEED + number}" for number in range(args.pool_cases))
        test = tuple(f"phantom-{TEST_SEED + number}" for number in range(args.test_cases))
        return pool, test, phantom_maker(args.step), True
    data = open_labelled(args.data, kind=args.kind)
    split = subject_split(data.entries(), (0.6, 0.0, 0.4))
    pool, test = split.train[: args.pool_cases], split.test[: args.test_cases]
    if not pool or not test:
        raise OptionError(
            f"{args.data}: {len(data.entries())} labelled cases; at least one to label and one to test"
        )
    return pool, test, data_maker(data, args.step), data.synthetic


def _base(args: argparse.Namespace, report: Callable[[str, int, int], None]) -> str:
    from fetaliqa.lab.phantom_encoder import train_stand_in
    from fetaliqa.training.starting_weights import open_base

    if args.base is not None:
        open_base(args.base)  # raises before anything is computed
        return str(args.base)
    folder = args.out / "stand-in"
    if not folder.is_dir():
        args.out.mkdir(parents=True, exist_ok=True)
        train_stand_in(folder, report, processes=args.processes)
    return str(folder.resolve())
