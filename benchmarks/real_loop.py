"""End-to-end test of the annotation loop for a new site: corrections through the server, retraining, evaluation.

Two countries whose images the bundle has never seen are the new site. Some of its abdomens and some images without
one are confirmed over HTTP as by a client, a training is started, and the candidate is evaluated on the rest of
these countries, as is the previous model. Exit code 1 when it was not published, or when the gain in Dice is not
significant (95 % interval by patient).

    python benchmarks/real_loop.py --data FOLDER --bundle BUNDLE [--centres Algeria Egypt] [--minutes 10]

FOLDER holds the public sets that ``fetaliqa/lab/stills/still_sources.py`` names. BUNDLE is a folder, or ``none``:
a small network of FetalCLIP_SEG's layout with random weights; or ``imagenet``: the compact network before it has
learnt any outline. Both find no outline.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
import SimpleITK as sitk
from tqdm import tqdm

from fetaliqa.atomic import write_json
from fetaliqa.errors import FetalIQAError, OptionError
from fetaliqa.evaluation.bootstrap import draw_cases, percentile_interval
from fetaliqa.inference import Predictor
from fetaliqa.lab.real_image_evaluation import Outcome, outcome
from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import Still, read_grey
from fetaliqa.lab.stills.still_samples import native_mask, outlined, usable
from fetaliqa.lab.stills.still_split import leave_out
from fetaliqa.model import BaseReference, Bundle, BundleCard, TrainingData, load_architecture, save_bundle
from fetaliqa.registry.model_store import resolve_bundle
from fetaliqa.training.recipes import COMPACT, changed
from fetaliqa.training.starting_weights import open_base

REPOSITORY = Path(__file__).resolve().parent.parent
MODEL, ANATOMY = "fetalclip_seg", "abdomen"
MOST_CONFIRMED = 2 / 3  # of the site's outlines; the rest measures
DRAWS = 10_000
START_SECONDS = 180  # of a server on a busy machine
STARTS = {"none": "scratch:small", "imagenet": "imagenet"}


@dataclass(frozen=True)
class Site:
    """Images of the new site: those that are confirmed, and those that measure; of different patients."""

    confirmed: list[Still]
    rest: list[Still]


def new_site(stills: Sequence[Still], centres: Sequence[str], outlines: int, empties: int) -> Site:
    """Divide the images of some countries by patient, in the order of a hash.

    Raises:
        OptionError: when there is nothing to confirm, or nothing left to measure on.
    """
    own = [one for one in usable(leave_out(stills, centres)[1], ANATOMY) if one.centre in centres]
    order = sorted(own, key=lambda one: hashlib.sha256(f"{one.patient}|{one.name}".encode()).digest())
    patients = sorted({one.patient for one in own}, key=lambda name: hashlib.sha256(name.encode()).digest())
    present = {patient: [one for one in order if one.patient == patient] for patient in patients}
    most = min(outlines, int(MOST_CONFIRMED * sum(outlined(one, ANATOMY) for one in own)))
    site: set[str] = set()
    positive: list[Still] = []
    negative: list[Still] = []
    for with_outline in (True, False):  # patients without an outlined image only fill up the empty ones
        for patient, images in present.items():
            shown = [one for one in images if outlined(one, ANATOMY)]
            full = len(positive) >= most if with_outline else len(negative) >= empties
            if full or bool(shown) != with_outline:
                continue
            site.add(patient)
            positive += shown
            negative += [one for one in images if not outlined(one, ANATOMY)]
    rest = [one for one in order if one.patient not in site]
    if not positive or not any(outlined(one, ANATOMY) for one in rest):
        raise OptionError(f"{len(positive)} outlines of {', '.join(centres)} to confirm; name other --centres")
    return Site([*positive[:most], *negative[:empties]], rest)


def start_bundle(name: str, folder: Path) -> Path:
    """The folder of the bundle to start from; ``none`` and ``imagenet`` are made here."""
    if name not in STARTS:
        return Path(resolve_bundle(name))
    base = open_base(STARTS[name])
    model = base.build(changed(COMPACT, {"outline_prior": 0.001}), seed=0).eval()
    card = BundleCard(
        name=MODEL,
        version="0",
        task="segmentation",
        architecture=load_architecture(base.architecture.name),
        lora=None,
        base=BaseReference("included", ""),
        anatomy=ANATOMY,
        training_data=TrainingData("none", "none", "has learnt no outline"),
        licence="Apache-2.0",
        intended_use="to see whether training starts from nothing",
        limitations="finds nothing",
    )
    return save_bundle(model, card, folder).directory


def write_site(folder: Path, site: Site) -> None:
    """The studies that the server serves: one image a case, and who was scanned."""
    folder.mkdir(parents=True)
    for still in site.confirmed:
        _write(folder / f"{still.name}.mha", read_grey(still.file), still)
    with open(folder / "subjects.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case_id", "subject_id"])
        writer.writerows([still.name, still.patient] for still in site.confirmed)


def _write(file: Path, picture: np.ndarray, still: Still) -> None:
    image = sitk.GetImageFromArray(picture[None])
    side = still.pixel_mm or 1.0
    image.SetSpacing((side, side, 1.0))
    sitk.WriteImage(image, str(file), useCompression=True)


@contextlib.contextmanager
def served(work: Path, bundle: Path, epochs: int) -> Iterator[str]:
    """The address of a server of its own, with its own model store, until the end of the block."""
    environment = {**os.environ, "FETALIQA_HOME": str(work / "home"), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "monailabel_app.serve", "--studies", str(work / "studies"), "--port", "0"]
    settings = {"device": "cpu", "bundle": bundle, "cache_dir": work / "cache", "train_epochs": epochs}
    for key, value in settings.items():
        command += ["--conf", key, str(value)]
    with open(work / "server.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield _address(work / "server.log", process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        match = re.search(r"is serving .* at (http://\S+:\d+)\n", log.read_text())
        if match is not None:
            return match[1]
        time.sleep(0.2)
    raise OptionError(f"the server did not start; the end of {log}:\n{log.read_text()[-2000:]}")


def confirm(url: str, stills: Sequence[Still], work: Path) -> None:
    """Save a final label with its frame record for each image, as Slicer does."""
    for still in tqdm(stills, desc="confirm", disable=None):
        mask = work / f"{still.name}.nii.gz"
        drawn = native_mask(still, ANATOMY)
        _write(mask, drawn, still)
        state = "annotated" if drawn.any() else "empty"
        record = {"schema": 1, "frames": {"0": {"state": state, "rater": still.outliner or "plane of the image"}}}
        answer = requests.put(
            f"{url}/datastore/label?image={still.name}&tag=final",
            data={"params": json.dumps({"frame_record": record})},
            files={"label": (mask.name, mask.read_bytes())},
            timeout=60,
        )
        mask.unlink()
        if not answer.ok:
            raise OptionError(f"{still.name}: {answer.status_code} {answer.text[:300]}")


def train(url: str, mode: str, seconds: float) -> dict[str, Any]:
    """Start a training, wait for it, and return its final status."""
    started = time.monotonic()
    answer = requests.post(f"{url}/train/{MODEL}", json={"mode": mode}, timeout=60)
    if not answer.ok:
        raise OptionError(f"no training was started: {answer.status_code} {answer.text[:300]}")
    status: dict[str, Any] = {}
    with tqdm(desc="train", unit="step", disable=None) as bar:
        while time.monotonic() < started + seconds:
            time.sleep(0.5)
            status = requests.get(f"{url}/info/", timeout=60).json()["train_stats"][MODEL]
            bar.total = status.get("steps")
            bar.set_postfix_str(f"{status.get('stage')} {status.get('validation') or ''}", refresh=False)
            bar.update((status.get("step") or 0) - bar.n)
            if status["state"] not in ("none", "running"):
                return {**status, "seconds": round(time.monotonic() - started, 1)}
    requests.delete(f"{url}/train/", timeout=60)
    raise OptionError(f"training had not ended after {seconds:.0f} s (stage {status.get('stage')}); see --minutes")


def measure(bundle: Path, stills: Sequence[Still], name: str) -> list[Outcome]:
    """Evaluate a model on images."""
    predictor = Predictor(Bundle.open(bundle), "cpu")
    return [outcome(predictor, still) for still in tqdm(stills, desc=name, disable=None)]


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Mean Dice of the outlined images (one not found counts 0), how many are found, and false positives."""
    shown = [one for one in outcomes if one.dice is not None]
    others = [one for one in outcomes if one.dice is None]
    return {
        "dice": round(float(np.mean([one.dice if one.positive else 0.0 for one in shown])), 4),
        "found": sum(one.positive for one in shown),
        "outlined": len(shown),
        "called_positive": sum(one.positive for one in others),
        "empty": len(others),
    }


def gain(before: Sequence[Outcome], after: Sequence[Outcome]) -> dict[str, float]:
    """Difference of mean Dice over outlined images, with its paired 95 % bootstrap interval by patient."""
    pairs = [(one, other) for one, other in zip(before, after) if one.dice is not None]
    patients = sorted({one.still.patient for one, _ in pairs})
    sums, counts = np.zeros(len(patients)), np.zeros(len(patients))
    for one, other in pairs:
        at = patients.index(one.still.patient)
        sums[at] += (other.dice or 0.0) * other.positive - (one.dice or 0.0) * one.positive
        counts[at] += 1
    weights = draw_cases(len(patients), DRAWS, seed=0)
    interval = percentile_interval((weights @ sums) / (weights @ counts))
    assert interval is not None
    values = {"gain": sums.sum() / counts.sum(), "low": interval.low, "high": interval.high}
    return {name: round(float(value), 4) for name, value in values.items()} | {"patients": len(patients)}


def table(result: dict[str, Any]) -> str:
    """The result as a table."""
    lines = [f"{'':8} {'Dice':>6} {'found':>9} {'false positives':>16}"]
    for name in ("before", "after"):
        row = result[name]
        hits, false = f"{row['found']}/{row['outlined']}", f"{row['called_positive']}/{row['empty']}"
        lines.append(f"{name:8} {row['dice']:6.3f} {hits:>9} {false:>16}")
    change = result["change"]
    lines.append(
        f"gain {change['gain']:+.3f} (95 % interval {change['low']:+.3f} to {change['high']:+.3f}, "
        f"{change['patients']} patients); {'published' if result['published'] else 'not published'} after "
        f"{result['training']['seconds']:.0f} s"
    )
    return "\n".join(lines)


def run(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All of it, in a working folder."""
    site = new_site(read_catalogue(args.data), args.centres, args.outlines, args.empties)
    shown = sum(outlined(one, ANATOMY) for one in site.confirmed)
    counts = f"{shown} outlines and {len(site.confirmed) - shown} images without one"
    print(f"confirmed: {counts} of {', '.join(args.centres)}; {len(site.rest)} images measure", flush=True)
    bundle = start_bundle(args.bundle, work / "start")
    before = measure(bundle, site.rest, "before")
    write_site(work / "studies", site)
    with served(work, bundle, args.epochs) as url:
        confirm(url, site.confirmed, work)
        training = train(url, args.mode, 60 * args.minutes)
    if training["state"] != "done":
        raise OptionError(f"training {training['state']}: {training.get('error')}")
    report = json.loads(next((work / "studies").glob("**/runs/1/report.json")).read_text())
    print("\n".join(report[key] for key in ("sentence",)), flush=True)
    after = measure(next((work / "studies").glob("**/runs/1/trial-0/bundle")), site.rest, "after")
    return {
        "bundle": args.bundle,
        "centres": args.centres,
        "mode": args.mode,
        "confirmed": {"outlined": shown, "empty": len(site.confirmed) - shown},
        "published": report["published"],
        "training": training,
        "trained": report["trained"],
        "gate": report["gate"],
        "before": figures(before),
        "after": figures(after),
        "change": gain(before, after),
        "images": [
            {"name": one.still.name, "dice": [one.dice, two.dice], "positive": [one.positive, two.positive]}
            for one, two in zip(before, after)
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; exit code 1 when it was not published or the gain is not sure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public still images")
    parser.add_argument("--bundle", required=True, help="bundle to start from, none, or imagenet")
    parser.add_argument("--centres", nargs="+", default=["Algeria", "Egypt"], help="countries of the new site")
    parser.add_argument("--outlines", type=int, default=30, help="abdomens to confirm, at most two thirds")
    parser.add_argument("--empties", type=int, default=20, help="images without an abdomen to confirm")
    parser.add_argument("--mode", default="quick", choices=["quick", "full"])
    parser.add_argument("--minutes", type=float, default=10.0, help="longest training")
    parser.add_argument("--epochs", type=int, default=0, help="of 20 steps; 0: as the mode has it")
    parser.add_argument("--out", type=Path, help="folder of result.json, result.txt and the server's files")
    args = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        work = args.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            if (work / "studies").exists():
                raise OptionError(f"{work}: holds an earlier result; choose another --out")
            work.mkdir(parents=True, exist_ok=True)
            outcome = run(args, work)
        except FetalIQAError as problem:
            print(f"error: {problem}", file=sys.stderr)
            return problem.exit_code
        write_json(work / "result.json", outcome)
        (work / "result.txt").write_text(table(outcome) + "\n")
    print(table(outcome))
    return 0 if outcome["published"] and outcome["change"]["low"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
