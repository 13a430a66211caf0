"""``fetaliqa evaluate``: evaluate a bundle, or all trials of a training run, on labelled cases."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fetaliqa.cli.argument_types import device, existing, existing_folder
from fetaliqa.extras import require_extra

if TYPE_CHECKING:
    from fetaliqa.datasets.labelled_data import LabelledData
    from fetaliqa.evaluation.model_evaluation import EvaluationResult
    from fetaliqa.evaluation.run_evaluation import RunEvaluation

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="RUN|BUNDLE", help="training run, or bundle folder, name, or name@version"
    )
    parser.add_argument("data", type=existing_folder, metavar="DATA", help="folder of a labelled data set")
    parser.add_argument("--kind", default="auto", help="kind of the data set (default: auto, detected)")
    parser.add_argument(
        "--split", type=existing, metavar="FILE", help="split to select cases by (default: the run's own)"
    )
    parser.add_argument(
        "--part",
        choices=("train", "validation", "test", "all"),
        help="part of the split to evaluate (default: test; without a split: all)",
    )
    parser.add_argument(
        "--labels",
        choices=("any", "optimal"),
        help="positive frames: any outline, or optimal planes only (default: as in the run's training)",
    )
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--weights", help="foundation-model weights (default: the imported ones)")
    parser.add_argument(
        "--views",
        type=int,
        choices=(1, 2, 4),
        default=1,
        help="flips to average over: 2 adds a left-right flip, 4 also both flipped upside down (default 1)",
    )
    parser.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="bootstrap draws (default: 1000; 0: no intervals)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the results (default: evaluation-NAME in this folder)"
    )
    parser.add_argument("--force", action="store_true", help="replace existing results in the folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def run(args: argparse.Namespace) -> int:
    from fetaliqa.registry.model_store import resolve_bundle

    folder = Path(args.model)
    directory = None if folder.is_dir() else resolve_bundle(args.model)
    if args.out is not None:
        _check_free(args.out, args.force)
    require_extra("train", "evaluation", {"sklearn": "scikit-learn", "jinja2": "jinja2"})
    # after the checks: these load torch
    from fetaliqa.allocator import keep_freed_memory
    from fetaliqa.evaluation.run_evaluation import is_run, trial_bundles
    from fetaliqa.model import Bundle

    keep_freed_memory()
    bundle = None if is_run(folder) else Bundle.open(directory or resolve_bundle(args.model))
    card = Bundle.open(trial_bundles(folder)[0]).card if bundle is None else bundle.card
    out = args.out or Path(f"evaluation-{folder.resolve().name if bundle is None else bundle.card.name}")
    _check_free(out, args.force)
    data = _open(args.data, args.kind, card.anatomy)
    if bundle is None:
        evaluated_run = _evaluate_run(folder, data, args)
        name, result = next(iter(evaluated_run.trials.items()))
        _write(out, args, result, data, folder / name / "bundle", evaluated_run)
    else:
        result = _evaluate_bundle(bundle, data, args)
        _write(out, args, result, data, bundle.directory, None)
    return 0


def _open(path: Path, kind: str, anatomy: str) -> LabelledData:
    from fetaliqa.labels.dataset_kinds import open_labelled
    from fetaliqa.labels.studies import Studies

    data = open_labelled(path, kind=kind)
    # a studies folder has no anatomy of its own: the model's is used
    return open_labelled(path, kind="studies", anatomy=anatomy) if isinstance(data, Studies) else data


def _check_free(out: Path, force: bool) -> None:
    from fetaliqa.errors import OptionError

    if out.exists() and not out.is_dir():
        raise OptionError(f"{out}: is a file; choose another folder with --out")
    existing_files = [name for name in (METRICS_FILE, REPORT_FILE) if (out / name).exists()]
    if existing_files and not force:
        raise OptionError(
            f"{out}: {existing_files[0]} exists already; choose another folder with --out, or add --force"
        )


def _evaluate_run(folder: Path, data: LabelledData, args: argparse.Namespace) -> RunEvaluation:
    from fetaliqa.evaluation.run_evaluation import evaluate_run

    with _Bar() as bar:
        return evaluate_run(
            folder,
            data,
            args.part,
            split=_split(args),
            labels=args.labels,
            bootstrap=args.bootstrap,
            seed=args.seed,
            device=args.device,
            weights=args.weights,
            views=args.views,
            progress=bar.show,
        )


def _evaluate_bundle(bundle: Any, data: LabelledData, args: argparse.Namespace) -> EvaluationResult:
    from fetaliqa.datasets.splits import read_split
    from fetaliqa.evaluation.model_evaluation import evaluate
    from fetaliqa.evaluation.run_evaluation import SPLIT_FILE, choose_cases, run_labels, run_of

    home = run_of(bundle.directory)
    trained = None if home is None else read_split(home / SPLIT_FILE)
    selection = choose_cases(data, args.part, split=_split(args), trained=trained)
    labels = args.labels or ("any" if home is None else run_labels(home))
    with _Bar() as bar:
        return evaluate(
            bundle,
            data,
            selection.case_ids,
            labels=labels,
            bootstrap=args.bootstrap,
            seed=args.seed,
            device=args.device,
            weights=args.weights,
            views=args.views,
            about=selection.about,
            notes=selection.notes,
            progress=lambda done, total: bar.show(bundle.card.name, done, total),
        )


def _split(args: argparse.Namespace) -> Any:
    from fetaliqa.datasets.splits import custom

    return None if args.split is None else custom(args.split)  # accepts manual splits too


def _write(
    out: Path,
    args: argparse.Namespace,
    result: EvaluationResult,
    data: LabelledData,
    bundle: Path,
    evaluated_run: RunEvaluation | None,
) -> None:
    from fetaliqa.atomic import write_json
    from fetaliqa.evaluation.evaluation_html import write_report
    from fetaliqa.evaluation.example_frames import choose_examples
    from fetaliqa.evaluation.frame_scorers import BundleScorer
    from fetaliqa.inference import Predictor
    from fetaliqa.model import Bundle

    metrics = result.to_json() if evaluated_run is None else evaluated_run.to_json()
    # figures are written first: the report can be regenerated
    write_json(out / METRICS_FILE, metrics)
    scorer = BundleScorer(Predictor(Bundle.open(bundle), args.device, weights=args.weights, views=args.views))
    examples = choose_examples(scorer, data, result.case_ids, result.table)
    write_report(out / REPORT_FILE, result, examples, evaluated_run)
    if args.json:
        print(json.dumps(metrics, allow_nan=False))
    else:
        _print(result, evaluated_run)
    print(f"written to {out}: {METRICS_FILE}, {REPORT_FILE}", file=sys.stderr)


def _print(result: EvaluationResult, evaluated_run: RunEvaluation | None) -> None:
    from fetaliqa.evaluation.evaluation_tables import figure_tables, summary_rows

    model, about = result.model, result.data
    size = f"{about['cases']} case(s), {len(result.table)} frames"
    print(f"{model['name']} {model['version']} on {about['name']}: {size}")
    for note in result.notes:
        print(f"  note: {note}")
    if evaluated_run is not None:
        print(f"\nmean ± standard deviation over {len(evaluated_run.trials)} trial(s)")
        for part in summary_rows(evaluated_run):
            print(f"  {part['group']}")
            for name, text in part["rows"]:
                print(f"    {name:<30} {text}")
        return
    for table in figure_tables(result):
        print(f"\n{table['title']:<32}" + "".join(f"{column:<30}" for column in table["columns"]).rstrip())
        for row in table["rows"]:
            cells = "".join(
                f"{value + (f' ({interval})' if interval else ''):<30}" for value, interval in row["cells"]
            )
            print(f"  {row['name']:<30}{cells}".rstrip())


class _Bar:
    """One progress bar per model."""

    def __enter__(self) -> _Bar:
        self._bars: dict[str, Any] = {}
        return self

    def show(self, name: str, done: float, total: int) -> None:
        from tqdm import tqdm

        if name not in self._bars:
            form = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} cases [{elapsed}<{remaining}]"
            self._bars[name] = tqdm(desc=name, total=total, bar_format=form, disable=None, file=sys.stderr)
        self._bars[name].update(done - self._bars[name].n)

    def __exit__(self, *_: object) -> None:
        for bar in self._bars.values():
            bar.close()
