"""Scaling of batch scoring with the number of processes, and file sizes of a case, on phantoms of 562 x 744.

    python benchmarks/many_sweeps.py --cases 8 --runs 1 2 ray2      # scaling
    python benchmarks/many_sweeps.py --cases 1 --sweeps 6           # bytes and steps of a whole case

One phantom case is made and scored under many names, since only its size matters here; nothing comes from a cache.
Each process has one thread. ``2`` is two processes, ``ray2`` two on a Ray cluster of this run. Each run is the
whole command, start to end; results of all runs must be the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import machine

from fetaliqa.batch.local_engine import cores
from fetaliqa.datasets.acouslic_layout import IMAGES
from fetaliqa.lab.phantom.phantom_dataset import write_dataset
from fetaliqa.lab.phantom.phantom_settings import PhantomSettings


def many_cases(folder: Path, count: int, sweeps: int, seed: int) -> Path:
    """A folder of ``count`` copies of one case."""
    settings = PhantomSettings(scale="full", sweeps=sweeps, slots=140)
    (made,) = (write_dataset(folder / "data", 1, seed, settings) / IMAGES).glob("*.mha")
    cases = folder / "cases"
    cases.mkdir()
    for number in range(count):
        os.link(made, cases / f"case{number:03d}.mha")
    return cases


def arguments_of(run: str) -> list[str]:
    """Options of ``fetaliqa score`` for ``1``, ``2``, ``ray2``, ..."""
    engine = ["--engine", "ray", "--address", "local"] if run.startswith("ray") else []
    return [*engine, "--processes", run.removeprefix("ray"), "--threads", "1"]


def busy_seconds() -> float:
    """Processor time that everything on this machine has used since it was started."""
    user, nice, system, _, _, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def run_once(cases: Path, out: Path, run: str) -> dict[str, Any]:
    """Wall time of one whole command, until its first case was done, and processor time of it and of all else.

    Ray's processes are not children of this one, so they count as other load.
    """
    command = [sys.executable, "-m", "fetaliqa.cli.main", "score", str(cases), "--out", str(out), "--no-cache"]
    began, clock, busy, used = time.time(), time.perf_counter(), busy_seconds(), os.times()
    subprocess.run(
        [*command, "--quiet", *arguments_of(run)],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    seconds = time.perf_counter() - clock
    first = min(mark.stat().st_mtime for mark in out.glob("*/done.json"))
    last = max(mark.stat().st_mtime for mark in out.glob("*/done.json"))
    now = os.times()
    own = now.children_user + now.children_system - used.children_user - used.children_system
    return {
        "seconds": seconds,
        "first_case_after": first - began,
        "first_to_last": last - first,
        "processor_seconds": own,
        "processor_seconds_of_all_else": busy_seconds() - busy - own,
    }


def contents(out: Path) -> dict[str, bytes]:
    """Results by name, without the completion markers, which hold times."""
    names = ("masks.mha", "assessment.json", "frames.csv", "contact_sheet.png", "summary.csv")
    return {str(path.relative_to(out)): path.read_bytes() for name in names for path in out.rglob(name)}


def weights(case: Path, results: Path) -> dict[str, Any]:
    """Bytes of a case and of its results, and processor seconds of the steps around the model."""
    from fetaliqa.batch.done_marker import input_sha256
    from fetaliqa.pictures.contact_sheet import contact_sheet
    from fetaliqa.registry import AssessmentService
    from fetaliqa.sweep import read_sweep

    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        clock = time.process_time()
        done = work()
        seconds[name] = round(time.process_time() - clock, 2)
        return done

    sweep = timed("read", lambda: read_sweep(case))
    timed("hash of the file", lambda: input_sha256(case))
    service = AssessmentService("demo", device="cpu")
    timed("load the model", service.load)
    result = timed("read and assess", lambda: service.assess(case))
    timed("masks", lambda: result.write_masks(case.parent / "masks.mha"))
    sheet = {"frames": sweep.frames, "masks": result.masks, "assessment": result.assessment}
    timed("contact sheet", lambda: contact_sheet(case.parent / "sheet.png", **sheet))
    return {
        "frames": len(sweep.frames) - int(sweep.padding.sum()),
        "slots": len(sweep.frames),
        "raw_bytes": int(sweep.frames.nbytes),
        "file_bytes": case.stat().st_size,
        "result_bytes": {path.name: path.stat().st_size for path in sorted(results.iterdir())},
        "processor_seconds": seconds,
    }


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--sweeps", type=int, default=1, help="in a case, of 140 slots each")
    parser.add_argument("--seed", type=int, default=74_000)
    parser.add_argument("--runs", nargs="+", default=["1"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cases = many_cases(folder, args.cases, args.sweeps, args.seed)
        result: dict[str, Any] = {"cases": args.cases, "machine": machine(), "cores": cores(), "runs": []}
        outs = [folder / f"out-{number}" for number in range(len(args.runs))]
        for run, out in zip(args.runs, outs):
            figures = run_once(cases, out, run)
            result["runs"].append({"run": run, **{name: round(value, 1) for name, value in figures.items()}})
        first, *others = map(contents, outs)
        result["same_bytes"] = all(other == first for other in others)
        result["case"] = weights(cases / "case000.mha", outs[0] / "case000")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
