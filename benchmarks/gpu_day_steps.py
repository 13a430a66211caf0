"""Steps of ``gpu_day.py`` that no other benchmark measures; each prints one JSON object.

    python benchmarks/gpu_day_steps.py versions|retraining|full-card [--device cuda] [--small] [--json]

``versions``: what is installed, and whether all that is needed can be imported. ``retraining``: a ``full``
retraining of three epochs in another process, while this one assesses a sweep again and again with the model on
the same card. ``full-card``: another process fills the card; the same frames are to get the same answers in
smaller batches, or a sentence, and after it has ended whole batches are computed and recorded again. (On a CPU
memory is not filled; the pass fails as PyTorch does.) Exit code 1 when a check fails.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_case import device_facts, device_named, small_model
from gpu_day import PACKAGES, REPOSITORY, with_packages
from replay import write_confirmed
from straightforward import card_of, full_size_model

IMPORTED = (
    "fetaliqa.registry.assessment_service",
    "fetaliqa.training.training_run",
    "fetaliqa.retraining.pipeline",
    "fetaliqa.cli.retrain",
    "fetaliqa.lab.phantom",
    *("SimpleITK", "nibabel", "pydicom", "open_clip", "isal", "monai.losses", "pytest", "lightning"),
)
SEEDS = (60_020, 60_021, 60_022, 60_023)  # phantoms whose truth is confirmed
ROUNDS = 5  # assessments without anything beside them
CPU_PAUSE_SECONDS = 1.0  # between requests beside a training that needs the same cores
LEFT_GIB = (6.0, 1.0, 0.1)  # that the other process leaves free
LATER_SECONDS = 120.0  # by which clocks are put forward, so that what waits a minute is done at once

FILL = """
import sys, torch
free, _ = torch.cuda.mem_get_info(sys.argv[1])
held = torch.empty(max(0, free - int(float(sys.argv[2]) * 2**30)), dtype=torch.uint8, device=sys.argv[1])
print("full", flush=True)
sys.stdin.read()
"""


def versions(device: torch.device, small: bool) -> tuple[dict[str, Any], bool]:
    """Installed versions, and packages that cannot be imported."""
    from fetaliqa.training.provenance import environment

    problems = {}
    for name in IMPORTED:
        try:
            importlib.import_module(name)
        except ImportError as problem:
            problems[name] = str(problem)
    result = {"machine": device_facts(device), **environment(), "cannot_be_imported": problems}
    if device.type == "cuda":
        result["capability"] = list(torch.cuda.get_device_capability(device))
    return {**result, "needed": {name: version for name, (version, _) in PACKAGES.items()}}, not problems


def random_model(small: bool) -> Any:
    """FetalCLIP_SEG with random weights, of full size or small."""
    return small_model() if small else full_size_model()


def some_frames(count: int, small: bool) -> np.ndarray:
    """Grey noise, uint8 [count, height, width]."""
    size = (90, 120) if small else (562, 744)
    return np.random.default_rng(0).integers(20, 255, (count, *size)).astype(np.uint8)


def retraining(device: torch.device, small: bool) -> tuple[dict[str, Any], bool]:
    """Assessments during a retraining on the same device."""
    from fetaliqa.registry import AssessmentService

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bundle = write_bundle(root / "bundle", small)
        write_studies(root / "studies")
        case = root / "case.mha"
        write_case(case, some_frames(8 if small else 128, small))
        service = AssessmentService(bundle, device=str(device), cache_dir=None)
        service.assess(case)  # not counted
        alone = [seconds_of_one(service, case) for _ in range(ROUNDS)]
        if device.type == "cuda":
            torch.cuda.empty_cache()
        command = retrain_command(root, bundle, device, small)
        environment = {**with_packages(), "FETALIQA_HOME": str(root / "home")}
        beside: list[float] = []
        checkpoints, least_free, started = 0, None, time.perf_counter()
        with open(root / "out", "w+") as out, open(root / "err", "w+") as err:
            process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=out, stderr=err)
            try:
                while process.poll() is None:
                    beside.append(seconds_of_one(service, case))
                    checkpoints = max(checkpoints, checkpoint_bytes(root / "studies"))
                    least_free = least(least_free, device)
                    time.sleep(0.0 if device.type == "cuda" else CPU_PAUSE_SECONDS)
            finally:
                process.kill()
        seconds = time.perf_counter() - started
        output = (root / "out").read_text()
        result: dict[str, Any] = {
            "computed_on": service.computed_on(),
            "exit_code": process.returncode,
            "seconds": round(seconds, 1),
            "frames_of_a_request": 8 if small else 128,
            "request_seconds_alone": round(statistics.median(alone), 4),
            "request_seconds_beside": {
                "median": round(statistics.median(beside), 4),
                "longest": round(max(beside), 4),
                "requests": len(beside),
            },
            "request_seconds_after": round(seconds_of_one(service, case), 4),
            "checkpoint_gib_at_most": round(checkpoints / 2**30, 4),
            "least_free_gib": None if least_free is None else round(least_free / 2**30, 2),
        }
        if process.returncode == 0:
            report = json.loads(output)
            result |= {name: report[name] for name in ("trained", "sentence")}
        else:
            result["error"] = (root / "err").read_text()[-2000:]
    return result, process.returncode == 0


def write_bundle(folder: Path, small: bool) -> Path:
    """A bundle with random weights that holds its whole encoder."""
    from dataclasses import replace

    from fetaliqa.model import BaseReference, build_segmentation, save_bundle

    torch.manual_seed(0)
    model = build_segmentation("demo" if small else "fetalclip", random_init=True, encoder="full").eval()
    card = replace(card_of(model), base=BaseReference("included", ""))
    save_bundle(model, card, folder)
    return folder


def write_studies(folder: Path) -> None:
    """Some frames of phantom cases, confirmed with their truth."""
    from fetaliqa.datasets.subsample import Sampling
    from fetaliqa.lab.phantom import PhantomSettings
    from fetaliqa.lab.phantom.phantom_data import SampledPhantoms

    phantoms = SampledPhantoms(SEEDS, Sampling(4, 2, 2), PhantomSettings(scale="half", sweeps=2))
    for seed in SEEDS:
        case = phantoms.read(f"phantom-{seed}")
        write_confirmed(folder, f"case-{seed}", case.frames, case.masks, case.spacing)


def write_case(path: Path, frames: np.ndarray) -> None:
    """A sweep as a file."""
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(frames), str(path))


def retrain_command(root: Path, bundle: Path, device: torch.device, small: bool) -> list[str]:
    """``fetaliqa retrain`` of few epochs."""
    changes = {"epochs": 1, "batch_size": 4} if small else {"epochs": 3}
    command = [sys.executable, "-m", "fetaliqa", "retrain", str(root / "studies"), "--bundle", str(bundle)]
    command += ["--mode", "full", "--no-replay", "--no-publish", "--accelerator", device.type, "--json"]
    return command + [part for name, value in changes.items() for part in ("--set", f"{name}={value}")]


def seconds_of_one(service: Any, case: Path) -> float:
    """From the file to the masks."""
    started = time.perf_counter()
    service.assess(case)
    return time.perf_counter() - started


def checkpoint_bytes(studies: Path) -> int:
    """Size of all checkpoints at the moment."""
    total = 0
    for file in studies.glob("retraining/runs/*/trial-*/checkpoints/*"):
        try:
            total += file.stat().st_size
        except OSError:  # replaced meanwhile
            continue
    return total


def least(before: int | None, device: torch.device) -> int | None:
    """The least memory of the card that was free so far, in bytes."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free if before is None else min(before, free)


def full_card(device: torch.device, small: bool) -> tuple[dict[str, Any], bool]:
    """Answers with little memory left, against those with all of it."""
    from fetaliqa.inference import Predictor

    model = random_model(small).to(device)
    card, frames = card_of(model), some_frames(16 if small else 128, small)
    predictor = Predictor.of_model(model, card)
    captured, predictor.captured = predictor.captured, None  # what is recorded before is played without memory
    whole = answers(predictor, frames)
    predictor.captured = captured
    result: dict[str, Any] = {"frames": len(frames), "with_little_memory": []}
    sound = True
    for left in LEFT_GIB:
        with_little = with_memory_left(predictor, frames, whole, left)
        result["with_little_memory"].append(with_little)
        sound = sound and with_little["state"] != "failed"
        put_forward(predictor)
    after = compared(predictor, frames, whole)
    result["afterwards"] = {
        **after,
        "recording_failed": {} if captured is None else {str(n): why for n, why in captured.failures.items()},
    }
    return result, sound and after["state"] == "answered" and not result["afterwards"]["recording_failed"]


def with_memory_left(predictor: Any, frames: np.ndarray, whole: torch.Tensor, gib: float) -> dict[str, Any]:
    """Result of a request with a given amount of memory left."""
    device = predictor.device
    if device.type != "cuda":
        fits, pass_over = int(gib), predictor._forward
        predictor._forward = lambda squares: failing_above(pass_over, squares, fits)
        try:
            return {"left": f"{fits} frames", **compared(predictor, frames, whole)}
        finally:
            predictor._forward = pass_over
    torch.cuda.empty_cache()
    command = [sys.executable, "-c", FILL, str(device), str(gib)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        filled = other.stdout.readline().strip() == "full"
        figures = compared(predictor, frames, whole)
        other.stdin.close()
    return {"left_gib": gib, "filled": filled, **figures}


def failing_above(compute: Any, squares: torch.Tensor, fits: int) -> Any:
    """A function that runs out of memory above a number of frames."""
    if len(squares) > fits:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return compute(squares)


def compared(predictor: Any, frames: np.ndarray, whole: torch.Tensor) -> dict[str, Any]:
    """Differences from the results of whole batches, or the error message."""
    from fetaliqa.errors import DeviceFull

    started = time.perf_counter()
    try:
        probabilities = answers(predictor, frames)
    except DeviceFull as problem:
        return {"state": "refused", "sentence": str(problem)}
    except (RuntimeError, MemoryError) as problem:  # recorded; the next step runs anyway
        return {"state": "failed", "error": f"{type(problem).__name__}: {problem}"[:500]}
    return {
        "state": "answered",
        "seconds": round(time.perf_counter() - started, 3),
        "frames_at_once": predictor._halving.most or predictor.batch_size,
        "probability_difference_max": round(float((probabilities - whole).abs().max()), 6),
    }


def answers(predictor: Any, frames: np.ndarray) -> torch.Tensor:
    """Probabilities of all frames."""
    chunks = predictor.predict(frames, np.arange(len(frames)))
    return torch.cat([chunk.probabilities.cpu() for chunk in chunks])


def put_forward(predictor: Any) -> None:
    """Advance the clocks by a minute, after which whole batches and recordings are tried again."""
    for part in (predictor._halving, predictor.captured):
        if part is not None:
            clock = part._clock
            part._clock = lambda clock=clock: clock() + LATER_SECONDS


STEPS = {"versions": versions, "retraining": retraining, "full-card": full_card}


def main(argv: list[str] | None = None) -> int:
    """Do a step and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N; cpu to try the script")
    parser.add_argument("--small", action="store_true", help="a small model and few frames")
    parser.add_argument("--json", action="store_true", help="in one line")
    args = parser.parse_args(argv)
    result, sound = STEPS[args.step](device_named(args.device), args.small)
    print(json.dumps(result, indent=None if args.json else 1))
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
