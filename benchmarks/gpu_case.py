"""Speed of a case of 840 frames from file to masks on a CUDA device, and the encoder's utilisation.

FetalCLIP_SEG at full size with random weights, frames of 562 x 744 of synthetic phantoms (``straightforward.py``
makes both). In one run: the bfloat16 matrix products that the device reaches (the peak that shares are of), the
encoder's TFLOP/s by counted FLOPs started kernel by kernel and recorded, the case one batch after the other,
overlapped, and overlapped and recorded, seconds by stage, the kernels that take longest, agreement with
float32, peak memory. What could not be recorded is not timed as if it were: ``recording_failed`` says which
batches and why, as does standard error, and the exit code is 1.

    python benchmarks/gpu_case.py [--device cuda] [--frames 840] [--repeats 3] [--json]
    python benchmarks/gpu_case.py --device cpu --small      # only tries the script: a small model, few frames

Without a CUDA device it ends with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case_speed import agreement, stages
from straightforward import card_of, case_frames, full_size_model, shift_logits
from timing import machine, peak_gib
from torch.utils.flop_counter import FlopCounterMode

GOAL_SHARE, GOAL_SECONDS = 0.5, 1.5  # of the peak, in the encoder; of a case
PEAK_SIDE, SMALL_PEAK_SIDE = 8192, 256  # of the square matrices whose product is the peak
WARM_UP, TIMES = 3, 20
KERNELS = 12


def device_named(name: str) -> torch.device:
    """The device, or the end of the program with one sentence."""
    from fetaliqa.errors import OptionError
    from fetaliqa.inference import choose_device

    try:
        device = choose_device(name)
    except OptionError as problem:
        print(f"{Path(sys.argv[0]).name}: {problem}; --device cpu --small only tries the script", file=sys.stderr)
        raise SystemExit(2) from None
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # events and profiles are of the current one
    return device


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """The median of some runs of device work, after some that are not counted."""
    for _ in range(WARM_UP):
        work()
    times = []
    for _ in range(TIMES):
        if device.type == "cuda":
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            work()
            after.record()
            after.synchronize()
            times.append(before.elapsed_time(after) / 1000)
        else:
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def peak_teraflops(device: torch.device, small: bool) -> float:
    """TFLOP/s of a large bfloat16 matrix product of random numbers; float32 on a CPU that has no bfloat16."""
    from fetaliqa.inference.precision import cpu_has_bf16

    side = SMALL_PEAK_SIDE if small else PEAK_SIDE
    dtype = torch.bfloat16 if device.type == "cuda" or cpu_has_bf16() else torch.float32
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: one @ other, device) / 1e12


def device_facts(device: torch.device) -> dict[str, Any]:
    """What it ran on."""
    facts = machine()
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        facts |= {"gpu": card.name, "gpu_gib": round(card.total_memory / 2**30, 1), "cuda": torch.version.cuda}
    return facts


def top_kernels(profile: torch.profiler.profile, device: torch.device) -> list[dict[str, Any]]:
    """The kernels or operators that took longest in a profile, with their shares."""
    field = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    rows = profile.key_averages()
    if device.type == "cuda":  # the kernels: an operator's row holds their time once more
        kernel = torch.autograd.DeviceType.CUDA
        rows = [one for one in rows if one.device_type == kernel and not one.is_user_annotation]
    busiest = sorted(rows, key=lambda one: -getattr(one, field))
    total = sum(getattr(one, field) for one in busiest) or 1.0
    return [
        {
            "name": one.key[:80],
            "calls": one.count,
            "milliseconds": round(getattr(one, field) / 1000, 3),
            "share": round(getattr(one, field) / total, 3),
        }
        for one in busiest[:KERNELS]
    ]


def profiled(device: torch.device) -> torch.profiler.profile:
    """A profiler of what runs on the device."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=kinds)


def small_model() -> Any:
    """The demo's architecture with random weights."""
    from fetaliqa.model import build_segmentation

    torch.manual_seed(0)
    return build_segmentation("demo", random_init=True).merged()


def small_frames(count: int) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """Grey noise, in one sweep."""
    return np.random.default_rng(0).integers(20, 255, (count, 90, 120)).astype(np.uint8), ((0, count),)


def flops_a_frame(model: Any, images: torch.Tensor) -> dict[str, float]:
    """GFLOP of a frame in the encoder and in the decoder, counted on the first of some normalised images."""
    one = images[:1].contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as encoding:
            maps = model.features(one)
        with FlopCounterMode(display=False) as decoding:
            model.decoder(one, maps)
    return {
        "encoder": encoding.get_total_flops() / 1e9,
        "decoder": decoding.get_total_flops() / 1e9,
    }


def encoder(predictor: Any, frames: np.ndarray, gflop: float, peak: float) -> dict[str, Any]:
    """The encoder on full batches: TFLOP/s and the share of the peak, kernel by kernel and recorded."""
    from fetaliqa.inference.cuda_graphs import CapturedForward
    from fetaliqa.measure.square_grid import SquareGrid
    from fetaliqa.model import normalise

    device, model = predictor.device, predictor.model
    grid = SquareGrid(frames.shape[1], frames.shape[2], predictor.image_size)
    squares = grid.to_square(np.resize(frames, (predictor.batch_size, *frames.shape[1:])), device)

    def encoded(some: torch.Tensor) -> tuple[torch.Tensor, None]:
        return model.features(normalise(some).contiguous(memory_format=torch.channels_last))[-1], None

    ways: dict[str, Callable[..., Any]] = {"kernel by kernel": encoded}
    if predictor.captured is not None:
        ways["recorded"] = CapturedForward(encoded, predictor.batch_size)
    result: dict[str, Any] = {"frames_a_batch": predictor.batch_size, "gflop_a_frame": round(gflop, 2)}
    with torch.inference_mode():
        for name, way in ways.items():
            seconds = seconds_of(lambda way=way: way(squares), device)
            failures = recording_failures(way)
            if failures:
                result[name] = {"recording_failed": failures}
                continue
            rate = gflop * len(squares) / seconds / 1000
            result[name] = {
                "milliseconds_a_batch": round(1000 * seconds, 3),
                "teraflops": round(rate, 5),
                "share_of_peak": round(rate / peak, 4),
            }
        with profiled(device) as profile:
            predictor._forward(squares)
            if device.type == "cuda":
                torch.cuda.synchronize()
    result["longest_in_a_batch"] = top_kernels(profile, device)
    return result


def recording_failures(captured: Any) -> dict[str, str]:
    """Why CUDA graphs of some batch sizes could not be recorded; empty when all were, or none was needed."""
    return {f"{size} frames": reason for size, reason in getattr(captured, "failures", {}).items()}


def ways(predictor: Any) -> Iterator[str]:
    """Names of the modes, each set up in turn; the last is the default on a CUDA device."""
    from fetaliqa.inference.predictor import CUDA_AHEAD, CUDA_THREADS

    captured = predictor.captured
    predictor.ahead, predictor.threads, predictor.captured = 0, 0, None
    yield "one batch after the other"
    predictor.ahead, predictor.threads = CUDA_AHEAD, CUDA_THREADS
    yield "overlapped"
    if captured is not None:
        predictor.captured = captured
        yield "overlapped and recorded"


def case(path: Path, predictor: Any, repeats: int) -> dict[str, Any]:
    """Seconds from file to masks, in each way: the first time, and the median of the next."""
    from fetaliqa.inference import assess
    from fetaliqa.sweep import read_sweep

    result = {}
    for way in ways(predictor):
        rounds = []
        for _ in range(1 + repeats):
            started = time.perf_counter()
            sweep = read_sweep(path)
            read = time.perf_counter()
            assessment = assess(sweep, predictor)
            rounds.append((read - started, time.perf_counter() - read))
        totals = [sum(one) for one in rounds]
        result[way] = {
            "first_seconds": round(totals[0], 3),
            "seconds": round(statistics.median(totals[1:]), 3),
            "of_which_reading": round(statistics.median(one[0] for one in rounds[1:]), 3),
            "frames": len(assessment.masks),
            "frames_with_outline": int(assessment.masks.any(axis=(1, 2)).sum()),
        }
        failures = recording_failures(predictor.captured)
        if failures:
            result[way]["recording_failed"] = failures
    return result


def close_to_fp32(reference: Any, answers: Any) -> dict[str, Any]:
    """Differences from the results in float32."""
    close = agreement(answers, reference)
    dice = close.pop("dice")
    return {"dice_mean": round(float(dice.mean()), 5), "dice_min": round(float(dice.min()), 5), **close}


def measure(device: torch.device, count: int, repeats: int, small: bool) -> dict[str, Any]:
    """Everything, as one JSON object."""
    import SimpleITK

    from fetaliqa.inference import assess
    from fetaliqa.inference.predictor import Predictor
    from fetaliqa.measure.square_grid import SquareGrid
    from fetaliqa.model import normalise
    from fetaliqa.sweep import sweep_from_array

    peak = peak_teraflops(device, small)
    frames, _ = small_frames(count) if small else case_frames(count)
    model = small_model() if small else full_size_model()
    shift_logits(model, frames)
    model, card = model.to(device), card_of(model)
    grid = SquareGrid(frames.shape[1], frames.shape[2], model.architecture.vision.image_size)
    gflop = flops_a_frame(model, normalise(grid.to_square(frames[:1], device)))
    some = sweep_from_array(np.ascontiguousarray(frames[:: max(1, count // 128)]), (0.28, 0.28))
    quick, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False  # convolutions too
    reference = assess(some, Predictor.of_model(model, card, precision="fp32"))
    torch.backends.cudnn.allow_tf32 = quick
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    predictor = Predictor.of_model(model, card, precision="bf16")
    result: dict[str, Any] = {
        "machine": device_facts(device),
        "peak_teraflops": round(peak, 5),
        "gflop_a_frame": {name: round(value, 3) for name, value in gflop.items()},
        "floor_seconds": round(count * sum(gflop.values()) / 1000 / peak, 4),
        "agreement with fp32": close_to_fp32(reference, assess(some, predictor)),
        "encoder": encoder(predictor, frames, gflop["encoder"], peak),
    }
    seconds = stages(predictor, some)
    result["milliseconds_a_frame"] = {
        name: round(1000 * one / len(some.frames), 3) for name, one in seconds.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.mha"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(frames), str(path), useCompression=True)
        result["case"] = case(path, predictor, repeats)
    result["peak_gib"] = {"host": round(peak_gib(), 2)}
    if device.type == "cuda":
        result["peak_gib"]["device"] = round(torch.cuda.max_memory_reserved(device) / 2**30, 2)
    best = list(result["case"].values())[-1]["seconds"]
    share = max(one.get("share_of_peak", 0.0) for one in result["encoder"].values() if isinstance(one, dict))
    result["goals"] = {"share_of_peak": [share, GOAL_SHARE], "seconds": [best, GOAL_SECONDS]}
    recorded = (result["encoder"].get("recorded", {}), *result["case"].values())
    result["recording_failed"] = {
        size: reason for one in recorded for size, reason in one.get("recording_failed", {}).items()
    }
    return result


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N; cpu to try the script")
    parser.add_argument("--frames", type=int, help="of the case (default 840; small: 20)")
    parser.add_argument("--repeats", type=int, default=3, help="of the case in each way, after a first one")
    parser.add_argument("--small", action="store_true", help="a small model and few small frames")
    parser.add_argument("--json", action="store_true", help="in one line")
    args = parser.parse_args(argv)
    device = device_named(args.device)
    result = measure(device, args.frames or (20 if args.small else 840), args.repeats, args.small)
    print(json.dumps(result, indent=None if args.json else 1))
    for size, reason in result["recording_failed"].items():
        print(f"gpu_case.py: no CUDA graph of batches of {size}: {reason}", file=sys.stderr)
    return 1 if result["recording_failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
