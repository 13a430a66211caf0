"""Coverage of the intervals around circumferences, on phantoms and real images that no model was trained on.

    python benchmarks/interval_coverage.py phantoms ROWS.jsonl --first 95000 --cases 16     # assess; minutes
    python benchmarks/interval_coverage.py phantoms ROWS.jsonl --first 96000 --cases 16 --search
    python benchmarks/interval_coverage.py stills ROWS.jsonl FOLDER                         # assess; minutes
    python benchmarks/interval_coverage.py report ROWS.jsonl [ROWS.jsonl ...] [--json] [--write]

FOLDER holds the public sets that ``fetaliqa/lab/stills/still_sources.py`` names. ``report`` needs no model: it
calibrates, measures the coverage, and prints a table. With ``--write`` it writes ``interval.json`` of the bundles
that ship. Not for clinical use.

What is calibrated and tested on what. The quantile that is tested is the one that ships:

- sweeps: phantom cases of three sweeps, calibrated on seeds 95000 on, tested on seeds 96000 on;
- heads: HC18 images that the head model was not trained on; half of the patients, by hash, calibrate, the others
  test;
- abdomens: African stills that the abdomen model was not trained on, outlined by a reader of this project,
  calibrate; other images test: Spanish stills, with this project's outlines and with ellipses through experts'
  calipers, and ACOUSLIC-AI's frames. Calipers and ACOUSLIC-AI are CC BY-NC-SA: they test and never calibrate.

(Cross-validation over one set would give about 90 % by construction, whatever the intervals are.)
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from fetaliqa.evaluation.interval_calibration import (
    Collect,
    Coverage,
    case_outcomes,
    coverage_of,
    frame_outcomes,
    outcomes_of,
    quantile_of,
)
from fetaliqa.evaluation.interval_rows import IntervalRow, interval_row
from fetaliqa.inference import Predictor
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.lab.phantom.phantom_data import WholePhantoms
from fetaliqa.lab.phantom.phantom_seeds import INTERVAL, INTERVAL_TEST, PHANTOM
from fetaliqa.lab.stills.labelled_stills import labelled_still
from fetaliqa.lab.stills.shipped_split import held_out
from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.measure.circumference_interval import COVERAGE, Calibration, Quantile
from fetaliqa.model import Bundle
from fetaliqa.model.interval_file import write_intervals
from fetaliqa.registry.model_store import resolve_bundle

SWEEPS = 3  # of a phantom case, the ones that cross the abdomen: half the time, and a plane in every case
HEADS, AFRICAN, SPANISH = "HC18 heads", "African abdomens", "Spanish abdomens"
CALIPERS, ACOUSLIC, PHANTOMS = "Spanish abdomens, calipers", "ACOUSLIC-AI frames", "phantom sweeps"
SEARCHED = "phantom sweeps, searched"  # assessed as `fetaliqa best` does, by the quantile of whole assessments
EXPERTS = "calipers and ACOUSLIC-AI together"
DATA = {
    "still head": "single images of HC18, outlined by its expert",
    "still abdomen": "single images of African planes, outlined by a reader who is no clinician",
    "sweep_case": "synthetic phantom sweeps, not on sweeps of patients",
    "sweep_frame": "synthetic phantom sweeps, not on sweeps of patients",
}
Rows = dict[str, list[IntervalRow]]


def assess_phantoms(args: argparse.Namespace) -> None:
    """Assess phantom cases of three sweeps, and add a row for each to the file."""
    predictor = Predictor(Bundle.open(resolve_bundle("abdomen")), "cpu")
    options, name = (AssessOptions(search=True), SEARCHED) if args.search else (None, PHANTOMS)
    data = WholePhantoms(tuple(range(args.first, args.first + args.cases)), 1, replace(PHANTOM, sweeps=SWEEPS))
    for entry in tqdm(data.entries(), desc=name):
        _keep(args.rows, name, interval_row(data.read(entry.case_id), predictor, options))


def assess_stills(args: argparse.Namespace) -> None:
    """Assess held-out still images with a reference, and add a row for each to the file."""
    stills = read_catalogue(args.folder)
    names = {("hc18", "head"): HEADS, ("african", "abdomen"): AFRICAN, ("spanish", "abdomen"): SPANISH}
    for anatomy in ("head", "abdomen"):
        predictor = Predictor(Bundle.open(resolve_bundle(anatomy)), "cpu")
        for still in tqdm([one for one in held_out(stills, anatomy) if one.plane == anatomy], desc=anatomy):
            if (name := names.get((still.source, still.plane))) and still.ellipse is not None:
                _keep(args.rows, name, interval_row(labelled_still(still), predictor))
            if still.caliper_ellipse is not None:
                _keep(args.rows, CALIPERS, interval_row(labelled_still(still, calipers=True), predictor))
            if still.mask_file is not None and anatomy == "abdomen":
                _keep(args.rows, ACOUSLIC, interval_row(labelled_still(still), predictor))


def _keep(file: Path, name: str, row: IntervalRow) -> None:
    with open(file, "a", encoding="utf-8") as stream:
        stream.write(json.dumps({"set": name, **row.to_json()}) + "\n")


def read_rows(files: Sequence[Path]) -> Rows:
    """Rows of all files by set, each case once."""
    rows: dict[str, dict[str, IntervalRow]] = defaultdict(dict)
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            rows[values["set"]][values["case_id"]] = IntervalRow.from_json(values)
    return {name: [cases[case] for case in sorted(cases)] for name, cases in rows.items()}


def calibrates(subject: str) -> bool:
    """Whether a patient of HC18 is in the half that calibrates, by a hash of the name."""
    return int(hashlib.sha256(f"interval|{subject}".encode()).hexdigest()[:8], 16) % 2 == 0


def seed_of(row: IntervalRow) -> int:
    """Seed of a phantom case."""
    return int(row.case_id.rpartition("-")[2])


def report(rows: Rows) -> tuple[dict[str, Coverage], dict[str, Quantile]]:
    """Coverage of each set, and the quantiles that ship."""
    coverages: dict[str, Coverage] = {}
    quantiles: dict[str, Quantile] = {}

    def measure(kind: str, collect: Collect, fitted: list[IntervalRow], tested: Rows) -> None:
        quantile = quantile_of(outcomes_of(fitted, collect)[0], DATA[kind])
        assert quantile is not None, f"too few cases to calibrate {kind}"
        quantiles.setdefault(kind, quantile)
        for name, chosen in tested.items():
            coverages[name] = coverage_of(*outcomes_of(chosen, collect), quantile)

    fitted = [one for one in rows[PHANTOMS] if seed_of(one) < INTERVAL_TEST]
    tested = [one for one in rows[PHANTOMS] if seed_of(one) >= INTERVAL_TEST]
    searched = {f"{SEARCHED}, case": rows[SEARCHED]} if SEARCHED in rows else {}
    measure("sweep_case", case_outcomes, fitted, {f"{PHANTOMS}, case": tested, **searched})
    measure("sweep_frame", frame_outcomes, fitted, {f"{PHANTOMS}, one frame of each case": tested})
    first = [one for one in rows[HEADS] if calibrates(one.subject_id)]
    second = [one for one in rows[HEADS] if not calibrates(one.subject_id)]
    measure("still head", frame_outcomes, first, {HEADS: second})
    measure("still head", frame_outcomes, second, {f"{HEADS}, halves exchanged": first})
    experts = rows[CALIPERS] + rows[ACOUSLIC]
    measure(
        "still abdomen",
        frame_outcomes,
        rows[AFRICAN],
        {SPANISH: rows[SPANISH], CALIPERS: rows[CALIPERS], ACOUSLIC: rows[ACOUSLIC], EXPERTS: experts},
    )
    return coverages, quantiles


def write_shipped(quantiles: dict[str, Quantile]) -> None:
    """Write ``interval.json`` of both bundles that ship."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    sweeps = quantiles["sweep_frame"], quantiles["sweep_case"]
    calibrations = {
        "abdomen": Calibration(COVERAGE, quantiles["still abdomen"], *sweeps),
        "head": Calibration(COVERAGE, quantiles["still head"], None, None),
    }
    for name, calibration in calibrations.items():
        bundle = Bundle.open(resolve_bundle(name))
        write_intervals(bundle.directory, bundle.fingerprint, calibration, created)


def print_table(coverages: dict[str, Coverage], quantiles: dict[str, Quantile]) -> None:
    """The table of docs/interval.md."""
    print("| set | circumferences | no interval | held (95 % interval) | mean half width | mean error |")
    print("|---|---|---|---|---|---|")
    for name, one in coverages.items():
        low, high = one.bounds()
        print(
            f"| {name} | {one.outcomes} | {one.without} | {one.held}, {one.share:.1%} ({low:.0%} to {high:.0%}) "
            f"| {one.half_width:.1%} | {one.error:.1%} |"
        )
    for name, quantile in quantiles.items():
        print(f"{name}: q = {quantile.value} from {quantile.cases} subjects")


def as_json(coverages: dict[str, Coverage], quantiles: dict[str, Quantile]) -> dict[str, Any]:
    """All figures as JSON values."""
    return {
        "nominal": COVERAGE,
        "coverage": {
            name: {
                **vars(one),
                "share": round(one.share, 4),
                "bounds": [round(value, 4) for value in one.bounds()],
            }
            for name, one in coverages.items()
        },
        "quantiles": {name: vars(one) for name, one in quantiles.items()},
    }


def main() -> None:
    """Assess, or report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    phantoms = actions.add_parser("phantoms")
    phantoms.add_argument("rows", type=Path)
    phantoms.add_argument("--first", type=int, default=INTERVAL, help="first seed")
    phantoms.add_argument("--cases", type=int, default=16)
    phantoms.add_argument("--search", action="store_true", help="search, as `fetaliqa best` does")
    stills = actions.add_parser("stills")
    stills.add_argument("rows", type=Path)
    stills.add_argument("folder", type=Path)
    table = actions.add_parser("report")
    table.add_argument("rows", type=Path, nargs="+")
    table.add_argument("--json", action="store_true")
    table.add_argument("--write", action="store_true", help="write interval.json of the bundles that ship")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.action == "phantoms":
        assess_phantoms(args)
    elif args.action == "stills":
        assess_stills(args)
    else:
        coverages, quantiles = report(read_rows(args.rows))
        if args.write:
            write_shipped(quantiles)
        if args.json:
            print(json.dumps(as_json(coverages, quantiles), indent=2))
        else:
            print_table(coverages, quantiles)


if __name__ == "__main__":
    main()
