"""``fetaliqa models calibrate``: calibrate the intervals of a bundle on labelled cases."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fetaliqa.cli.argument_types import device, existing, existing_folder

if TYPE_CHECKING:
    from fetaliqa.datasets.labelled_data import LabelledData
    from fetaliqa.model import Bundle


def configure_calibration(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fetaliqa models calibrate``."""
    parser.add_argument("name", help="NAME@VERSION, or the path of a bundle folder")
    parser.add_argument(
        "data", type=existing_folder, metavar="DATA", help="labelled cases that the model was not trained on"
    )
    parser.add_argument("--kind", default="auto", help="kind of the data set (default: auto, detected)")
    parser.add_argument(
        "--split", type=existing, metavar="FILE", help="split to select cases by (default: the run's own)"
    )
    parser.add_argument(
        "--part",
        choices=("validation", "test", "all"),
        help="part of the split to calibrate on (default: validation; without a split: all)",
    )
    parser.add_argument(
        "--coverage",
        type=float,
        default=0.9,
        metavar="SHARE",
        help="of cases whose reference an interval holds (default: 0.9)",
    )
    parser.add_argument(
        "--about", metavar="TEXT", help="what the cases are and who outlined them, for all outputs"
    )
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--weights", help="foundation-model weights (default: the imported ones)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def calibrate_bundle(args: argparse.Namespace) -> int:
    """Calibrate, and write ``interval.json`` into the bundle's folder."""
    from fetaliqa.errors import OptionError
    from fetaliqa.registry.model_store import resolve_bundle

    if not 0.5 <= args.coverage < 1:
        raise OptionError(f"--coverage is {args.coverage}; a share from 0.5 up to, not including, 1 is needed")
    directory = resolve_bundle(args.name)
    _check_own(directory)

    # after the checks: these load torch
    from datetime import UTC, datetime

    from tqdm import tqdm

    from fetaliqa.case_names import printable
    from fetaliqa.evaluation.interval_calibration import calibrate
    from fetaliqa.evaluation.interval_rows import interval_row
    from fetaliqa.inference import Predictor
    from fetaliqa.measure.anatomy import anatomy_named
    from fetaliqa.model import Bundle
    from fetaliqa.model.interval_file import INTERVAL_FILE, write_intervals
    from fetaliqa.model.json_records import to_json

    bundle = Bundle.open(directory)
    if bundle.card.task != "segmentation":
        raise OptionError(f"{args.name}: a {bundle.card.task} bundle; only one that outlines has intervals")
    if anatomy_named(bundle.card.anatomy).is_line:
        raise OptionError(f"{args.name} measures a length; there are intervals of circumferences only")
    data, cases = _cases(args, bundle)
    predictor = Predictor(bundle, args.device, weights=args.weights)
    bar = tqdm(cases, desc="calibrate", unit="case", leave=False, disable=None)
    rows = [interval_row(data.read(case), predictor) for case in bar]
    about = printable(args.about or "") or f"{data.name}{', synthetic phantoms' if data.synthetic else ''}"
    calibration = calibrate(rows, about, args.coverage)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    written = write_intervals(directory, bundle.fingerprint, calibration, created)
    if args.json:
        print(json.dumps(to_json(written)))
        return 0
    for name, quantile in (
        ("single images", calibration.still),
        ("frames of sweeps", calibration.sweep_frame),
        ("cases of sweeps", calibration.sweep_case),
    ):
        print(
            f"{name}: " + ("too few, no interval" if quantile is None else f"calibrated on {quantile.cases} cases")
        )
    print(f"written to {directory / INTERVAL_FILE}, version {written.version}; not for clinical use")
    return 0


def _check_own(directory: Path) -> None:
    """Raise OptionError for a bundle that ships: its calibration comes with it."""
    from fetaliqa.errors import OptionError
    from fetaliqa.model.user_folders import SHIPPED, demo_folder, shipped_folder

    shipped = [demo_folder(), *map(shipped_folder, SHIPPED)]
    if any(directory.resolve() == folder.resolve() for folder in shipped):
        raise OptionError(
            f"{directory.name} ships with fetaliqa and is not changed; copy its folder and give the copy's path"
        )


def _cases(args: argparse.Namespace, bundle: Bundle) -> tuple[LabelledData, tuple[str, ...]]:
    """The data set, and the cases to calibrate on; training cases of a known run are refused."""
    from fetaliqa.datasets.splits import custom, read_split
    from fetaliqa.errors import OptionError
    from fetaliqa.evaluation.run_evaluation import SPLIT_FILE, choose_cases, run_of
    from fetaliqa.labels.dataset_kinds import open_labelled
    from fetaliqa.labels.studies import Studies

    data = open_labelled(args.data, kind=args.kind)
    if isinstance(data, Studies):  # it has no anatomy of its own
        data = open_labelled(args.data, kind="studies", anatomy=bundle.card.anatomy)
    if data.anatomy.name != bundle.card.anatomy:
        raise OptionError(
            f"{args.data}: outlines of the {data.anatomy.name}; {args.name} needs the {bundle.card.anatomy}'s"
        )
    home = run_of(bundle.directory)
    trained = None if home is None else read_split(home / SPLIT_FILE)
    split = None if args.split is None else custom(args.split)
    part = args.part or ("all" if (split or trained) is None else "validation")
    chosen = choose_cases(data, part, split=split, trained=trained)
    for note in chosen.notes:
        print(f"note: {note}", file=sys.stderr)
    return data, chosen.case_ids
