"""Runs all CUDA checks and benchmarks in under ten minutes, on a machine with one card and no network.

Steps run in order of priority, each in its own process with a time limit, so that a step that fails or hangs does
not affect the others. After each step all results so far are in the JSON file.

    python benchmarks/gpu_day.py [--device cuda] [--out gpu_day.json] [--seconds 570] [--only case training]
    python benchmarks/gpu_day.py --device cpu --small     # tries every step on a CPU, with small models
    python benchmarks/gpu_day.py --packages               # what such a machine needs, with sizes

Exit code 1 when a step failed, timed out or was skipped for lack of time; 2 without the device.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
SECONDS = 570.0  # of all steps
SMALL_SECONDS = 1500.0  # of each step with small models, on any machine
LEAST_SECONDS = 10.0  # a step with less time left is skipped
KEPT_LINES = 30  # of the output of a failed step
CUDA_TESTS = ("tests/inference/test_overlapped.py", "tests/training/test_training_on_a_device.py")

# What a machine needs that has PyTorch with CUDA, torchvision, lightning, timm, peft, opencv-python-headless,
# scipy, scikit-learn, safetensors, matplotlib, tqdm, filelock, lazy-loader, tensorboard, pandas, pillow, pytest:
# version and MiB of the wheel for Python 3.12 on Linux.
PACKAGES = {
    "SimpleITK": ("2.5.7", 50.33),
    "nibabel": ("5.4.2", 3.15),
    "pydicom": ("2.4.5", 1.69),
    "monai": ("1.6.1", 1.60),
    "open_clip_torch": ("3.3.0", 1.48),
    "wcwidth": ("0.9.4", 0.75),
    "isal": ("1.9.1", 0.29),
    "platformdirs": ("4.14.9", 0.09),
    "ftfy": ("6.3.1", 0.04),
}


@dataclass(frozen=True)
class Step:
    """One measurement.

    Attributes:
        name: key of its result.
        command: the process; its last line of output that is a JSON object is the result.
        seconds: its time limit.
    """

    name: str
    command: list[str]
    seconds: float


def all_steps(device: str, small: bool) -> list[Step]:
    """The steps in order of priority."""
    where = ["--device", device]
    own = [*where, *(["--small"] if small else [])]

    def script(name: str, *options: str) -> list[str]:
        return [sys.executable, str(HERE / name), *options, *own, "--json"]

    def limit(seconds: float) -> float:
        return SMALL_SECONDS if small else seconds

    tests = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", *CUDA_TESTS]
    frames = ["--frames", "4", "--repeats", "1"] if small else ["--repeats", "2"]
    few = ["--steps", "2"] if small else []
    compact = [sys.executable, str(HERE / "compact_speed.py"), *where, "--baseline-frames", "0", "--json"]
    compact += ["--frames", "12", "--repeats", "1"] if small else ["--repeats", "2"]
    return [
        Step("versions", script("gpu_day_steps.py", "versions"), limit(30)),
        Step("cuda tests", tests, limit(80)),
        Step("case", script("gpu_case.py", *frames), limit(150)),
        Step("training", script("training_throughput.py", *few), limit(70)),
        Step("retraining beside a server", script("gpu_day_steps.py", "retraining"), limit(100)),
        Step("full card", script("gpu_day_steps.py", "full-card"), limit(50)),
        Step("compact model", compact, limit(50)),
        Step("training, any kernels", script("training_throughput.py", "--nondeterministic", *few), limit(40)),
    ]


def with_packages() -> dict[str, str]:
    """The environment of a process that imports this checkout, and whatever this one can import."""
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *([others] if others else [])])}


def run_step(step: Step, limit: float) -> dict[str, Any]:
    """Run a step and return its outcome, also when it fails."""
    environment = {**with_packages(), "PYTHONUNBUFFERED": "1"}
    started = time.monotonic()
    process = subprocess.Popen(
        step.command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit)
        state = "done" if process.returncode == 0 else "failed"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # what the step has started too
        output, _ = process.communicate()
        state = "timed out"
    outcome: dict[str, Any] = {
        "state": state,
        "seconds": round(time.monotonic() - started, 1),
        "limit_seconds": round(limit, 1),
        "result": last_object(output),
    }
    if state != "done":
        outcome["exit_code"] = process.returncode
    if state != "done" or outcome["result"] is None:
        outcome["output"] = output.splitlines()[-KEPT_LINES:]
    return outcome


def last_object(text: str) -> dict[str, Any] | None:
    """The last line that is a JSON object; None without any."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                return json.loads(line)
            except ValueError:
                continue
    return None


def goals(outcomes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Measured figures compared with the goals for an H200."""
    results: dict[str, dict[str, Any]] = {}

    def note(name: str, value: float, goal: float, met: bool) -> None:
        results[name] = {"found": value, "goal": goal, "met": met}

    case = (outcomes.get("case") or {}).get("result")
    if case:
        share, wanted = case["goals"]["share_of_peak"]
        note("encoder's share of the peak", share, wanted, share >= wanted)
        seconds, most = case["goals"]["seconds"]
        note("seconds of a case from file to masks", seconds, most, seconds <= most)
    for name in ("training", "training, any kernels"):
        trained = (outcomes.get(name) or {}).get("result")
        if trained:
            rate = round(trained["steps_per_second"] * trained["frames_a_step"], 1)
            share, wanted = trained["share_of_peak"], trained["goal"]
            note(f"{name}: share of the peak", share, wanted, share >= wanted)
            results[f"{name}: share of the peak"]["images_per_second"] = rate
    return results


def print_packages() -> None:
    """Packages with versions and sizes, and how to fetch them elsewhere."""
    for name, (version, size) in PACKAGES.items():
        print(f"{name}=={version}  {size:.2f} MiB")
    together = sum(size for _, size in PACKAGES.values())
    print(f"{together:.1f} MiB together, as wheels for Python 3.12 on Linux (x86-64)")
    print("SimpleITK's library, 272 MB unpacked, is 31 MB under `xz -4`, where wheels are too large to carry")
    wanted = " ".join(f"{name}=={version}" for name, (version, _) in PACKAGES.items())
    kinds = "--python-version 3.12 --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64"
    print(f"python3 -m pip download --no-deps --only-binary=:all: {kinds} -d wheels {wanted}")


def measure(steps: list[Step], out: Path, seconds: float, described: dict[str, Any]) -> dict[str, Any]:
    """Run the steps within so many seconds; ``out`` holds what is known after each."""
    from fetaliqa.atomic import write_json

    end = time.monotonic() + seconds
    outcomes: dict[str, dict[str, Any]] = {}
    result: dict[str, Any] = {**described, "steps": outcomes, "goals": {}}
    for step in steps:
        left = end - time.monotonic()
        if left < LEAST_SECONDS:
            outcomes[step.name] = {"state": "left out", "seconds": 0.0}
        else:
            print(f"{step.name} ...", file=sys.stderr, flush=True)
            outcomes[step.name] = run_step(step, min(step.seconds, left))
        result["goals"] = goals(outcomes)
        write_json(out, result)
        print(f"{step.name}: {outcomes[step.name]['state']}", file=sys.stderr, flush=True)
    return result


def main(argv: list[str] | None = None) -> int:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N; cpu to try the script")
    parser.add_argument("--small", action="store_true", help="small models and few frames")
    parser.add_argument("--out", type=Path, default=Path("gpu_day.json"), help="file of the results")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of all steps (default {SECONDS:g})")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="steps to run, by name")
    parser.add_argument("--packages", action="store_true", help="print what such a machine needs, and end")
    args = parser.parse_args(argv)
    if args.packages:
        print_packages()
        return 0
    sys.path[:0] = [path for path in (str(REPOSITORY), str(HERE)) if path not in sys.path]
    from gpu_case import device_named

    device_named(args.device)
    steps = all_steps(args.device, args.small)
    unknown = set(args.only or ()) - {step.name for step in steps}
    if unknown:
        parser.error(
            f"--only {', '.join(sorted(unknown))}: the steps are {', '.join(step.name for step in steps)}"
        )
    chosen = [step for step in steps if args.only is None or step.name in args.only]
    described = {"device": args.device, "small": args.small, "seconds": args.seconds}
    result = measure(chosen, args.out, args.seconds, described)
    print(json.dumps(result["goals"], indent=1))
    return 0 if all(one["state"] == "done" for one in result["steps"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
