"""Speed of the compact model from file to masks, compared with the straightforward pipeline in the same run.

The compact model is timed as ``fetaliqa score`` uses it without pictures, once it is loaded: the file is read,
every frame is prepared, predicted and assessed, and the masks are written at native size. The straightforward
pipeline around FetalCLIP_SEG (``straightforward.py``) does a few of the same frames, and writes nothing. Both are
in float32, with as many threads. Without ``--file`` the sweep is of rendered phantoms of 562 x 744, every frame
lit. Where other work takes part of the cores, the ratio of processor times with one thread is the one to go by.

    python benchmarks/compact_speed.py [--frames 840] [--baseline-frames 8] [--repeats 3] [--threads 2] [--json]
    python benchmarks/compact_speed.py --device cuda --baseline-frames 0      # the compact model alone, on a card
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from straightforward import Straightforward, full_size_model, shift_logits
from timing import Clock, described, machine, peak_gib, timed

SPACING = (0.28, 0.28)  # mm
CASE_FRAMES = 600  # of a phantom case, or more
GOAL = 50  # times the straightforward pipeline
POLICIES = {os.SCHED_OTHER: "normal", os.SCHED_RR: "real time"} if hasattr(os, "SCHED_RR") else {}


def phantom_sweep(path: Path, count: int) -> Path:
    """Write a compressed sweep of so many lit frames of phantoms; few frames are every n-th of one."""
    import SimpleITK

    from fetaliqa.lab.phantom import PhantomSettings
    from fetaliqa.lab.phantom.phantom_excerpt import subsampled_phantom

    step = max(1, CASE_FRAMES // count)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < count:
        parts.append(subsampled_phantom(71_000 + len(parts), step, PhantomSettings(scale="full")).case.frames)
    image = SimpleITK.GetImageFromArray(np.concatenate(parts)[:count])
    image.SetSpacing((*SPACING, 1.0))
    SimpleITK.WriteImage(image, str(path), useCompression=True)
    return path


def conditions() -> dict[str, Any]:
    """Scheduling of this process, and the load of the machine."""
    if not hasattr(os, "sched_getscheduler"):  # not Linux
        return {}
    policy = os.sched_getscheduler(0)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "priority": POLICIES.get(policy, str(policy)),
        "load_average": os.getloadavg()[0],
    }


@contextmanager
def processor_time() -> Iterator[list[float]]:
    """One number, when it is over: seconds of all cores that this process has used."""
    used: list[float] = []
    began = time.process_time()
    yield used
    used.append(time.process_time() - began)


def per_frame(used: list[float], count: int) -> dict[str, float]:
    """Processor time by frame."""
    return {"processor_milliseconds_a_frame": round(1000 * used[0] / count, 1)}


def straightforward(path: Path, count: int) -> dict[str, Any]:
    """The straightforward pipeline on evenly spaced frames of the file."""
    import SimpleITK

    whole, reading = timed(lambda: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))
    frames = np.ascontiguousarray(whole[:: max(1, len(whole) // count)][:count])
    model = full_size_model()
    shift_logits(model, frames)
    pipeline, clock = Straightforward(model), Clock()
    pipeline(frames[:1], Clock())  # not counted
    with processor_time() as used:
        _, seconds = timed(lambda: pipeline(frames, clock))
    share = reading * len(frames) / len(whole)
    used[0] += share  # of one thread
    return described(len(frames), seconds + share, {"read": share, **clock.seconds}) | per_frame(used, len(frames))


def compact(path: Path, spec: str, repeats: int, device: str) -> dict[str, Any]:
    """The product's pipeline from the file to the written masks."""
    from fetaliqa.inference.assessment import assess
    from fetaliqa.registry import AssessmentService
    from fetaliqa.sweep import read_sweep, sweep_from_array

    service = AssessmentService(spec, cache_dir=None, device=device)
    predictor, loading = timed(service.load)
    sweep = read_sweep(path)
    assess(sweep_from_array(sweep.frames[:: max(1, sweep.frame_count // 32)], SPACING), predictor)  # not counted
    runs, writing, used = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeats):
            target = Path(folder) / f"masks{number}.mha"
            with processor_time() as processor:
                result, assessing = timed(lambda: service.assess(path))
                writing.append(timed(lambda result=result, target=target: result.write_masks(target))[1])
            runs.append(assessing + writing[-1])
            used += processor
    apart = stages(predictor, path)
    return {
        "model": f"{predictor.card.name} {predictor.card.version}",
        **service.computed_on(),
        "load_seconds": round(loading, 2),
        "frames_with_outline": sum(bool(one["positive"]) for one in result.assessment["frames"]),
        "seconds_of_each_run": [round(one, 2) for one in runs],
        **described(sweep.frame_count, statistics.median(runs), {**apart, "write": statistics.median(writing)}),
        **per_frame([statistics.median(used)], sweep.frame_count),
        "agreement with the plain model": agreement(sweep.frames, predictor, spec),
    }


def stages(predictor: Any, path: Path) -> dict[str, float]:
    """Seconds by stage of the product's own pipeline, taken apart."""
    from fetaliqa.inference.frame_measurement import FrameAssessor
    from fetaliqa.inference.frame_profile import ProfileMaker
    from fetaliqa.measure.square_grid import SquareGrid
    from fetaliqa.sweep import read_sweep

    clock, card = Clock(predictor.device), predictor.card.threshold
    with clock("read"):
        sweep = read_sweep(path)
    with clock("hash"):
        sweep.content_hash  # noqa: B018
    with clock("field of view"):
        assessor = FrameAssessor(sweep, predictor, card.probability, card.frame)
    grid = SquareGrid(*sweep.frames.shape[1:], predictor.image_size)
    profile = ProfileMaker(card.min_foreground_pixels(predictor.image_size))
    for start in range(0, sweep.frame_count, predictor.batch_size):
        numbers = np.arange(start, min(start + predictor.batch_size, sweep.frame_count))
        with clock("prepare"):
            squares = grid.to_square(sweep.frames[numbers], predictor.device)
        with clock("network"):
            outputs = predictor._forward(squares)
        with clock("measure"):
            for outline, output in zip(
                assessor.on_both_grids(outputs.probabilities[:, 0]), outputs.signals.tolist()
            ):
                assessor.measured(outline, None, output)
        with clock("profile"):
            profile.add(numbers, outputs.probabilities[:, 0], outputs.appearance)
    return clock.seconds


def agreement(frames: np.ndarray, predictor: Any, spec: str) -> dict[str, Any]:
    """How far probabilities and masks of some frames are from those of the layers as they were trained."""
    from fetaliqa.measure.square_grid import SquareGrid
    from fetaliqa.model import Bundle, normalise
    from fetaliqa.registry.model_store import resolve_bundle

    plain = Bundle.open(resolve_bundle(spec)).load_model(merge=False, device=predictor.device)
    grid = SquareGrid(*frames.shape[1:], predictor.image_size)
    squares = grid.to_square(frames[:: max(1, len(frames) // 60)], predictor.device)
    with torch.inference_mode():
        before = torch.sigmoid(plain(normalise(squares)))[:, 0]
    after = predictor._forward(squares).probabilities[:, 0]
    masks = [grid.masks_to_native(one, predictor.card.threshold.probability) for one in (before, after)]
    return {
        "frames": len(squares),
        "probability_difference_max": float((before - after).abs().max()),
        "frames_with_foreground": int(masks[0].any(axis=(1, 2)).sum()),
        "mask_pixels_that_differ": int((masks[0] != masks[1]).sum()),
    }


def compared(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """The straightforward pipeline's figures, and how many times as fast the compact model is."""
    processor = "processor_milliseconds_a_frame"
    return {
        "straightforward": theirs,
        "times_straightforward": round(theirs["seconds"] / theirs["frames"] * ours["frames"] / ours["seconds"], 1),
        "times_straightforward_in_processor_time": round(theirs[processor] / ours[processor], 1),
        "goal": GOAL,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    from fetaliqa.allocator import keep_freed_memory

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="abdomen", help="bundle of the compact model")
    parser.add_argument("--file", type=Path, help="sweep to time instead of phantoms")
    parser.add_argument("--frames", type=int, default=840)
    parser.add_argument("--baseline-frames", type=int, default=8, help="0: the compact model alone")
    parser.add_argument("--device", default="cpu", help="of the compact model: cpu, cuda or cuda:N")
    parser.add_argument("--repeats", type=int, default=3, help="of the compact model; the median counts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        path = args.file or phantom_sweep(Path(folder) / "case.mha", args.frames)
        result = {
            "machine": machine() | conditions(),
            "compact": compact(path, args.model, args.repeats, args.device),
        }
        if args.baseline_frames:
            result |= compared(result["compact"], straightforward(path, args.baseline_frames))
    result["peak_gib"] = round(peak_gib(), 2)
    print(json.dumps(result, indent=None if args.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
