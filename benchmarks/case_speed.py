"""Speed of the assessment of a case, compared with the straightforward pipeline in the same run.

The straightforward pipeline and the model of random weights are those of ``straightforward.py``. The frames are a
synthetic phantom's, 562 x 744. Prints frames per second, ratios, each stage's share, the difference between the
results, and peak memory. The compact model: ``compact_speed.py``.

"Best frame with a student" and "outlines of screened frames" are put together, since a model of random weights
can teach nothing: the compact model that ships assesses all frames, then the full-size model the share of
frames that a search with a student, or screening, needed on phantoms (benchmarks/search.py).

    python benchmarks/case_speed.py [--frames 140] [--searched 840] [--baseline-frames 32] [--threads 2] [--json]
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from straightforward import SIZE, Straightforward, card_of, case_frames, full_size_model, shift_logits
from timing import Clock, described, machine, peak_gib, timed


def stages(predictor: Any, sweep: Any) -> dict[str, float]:
    """Seconds by stage of our own pipeline, taken apart."""
    from fetaliqa.inference.frame_measurement import FrameAssessor
    from fetaliqa.measure.square_grid import SquareGrid
    from fetaliqa.model import normalise

    frames, threshold = sweep.frames, predictor.card.threshold
    clock, grid = Clock(predictor.device), SquareGrid(frames.shape[1], frames.shape[2], SIZE)
    assessor = FrameAssessor(sweep, predictor, threshold.probability, threshold.frame)
    decoder = predictor.model.decoder
    with torch.inference_mode():
        for start in range(0, len(frames), predictor.batch_size):
            with clock("preprocess"):
                squares = grid.to_square(frames[start : start + predictor.batch_size], predictor.device)
                images = normalise(squares)
                images = images.contiguous(memory_format=torch.channels_last)
            with clock("encode"):
                maps = predictor.model.features(images)
            with clock("decode"):
                probabilities = torch.sigmoid(decoder(images, maps))[:, 0]
            with clock("postprocess"):
                for outline in assessor.on_both_grids(probabilities):
                    assessor.measured(outline, None)
    return clock.seconds


def matmul_teraflops() -> dict[str, float]:
    """What matrix products of the encoder's largest size reach: the floor of its time. TFLOP/s by number type.

    bfloat16 only on a CPU that has it in hardware: on another one product takes minutes.
    """
    from fetaliqa.inference.precision import cpu_has_bf16

    rates, types = {}, {"fp32": torch.float32}
    if cpu_has_bf16():
        types["bf16"] = torch.bfloat16
    for name, dtype in types.items():
        one, other = torch.randn(8 * 257, 1024, dtype=dtype), torch.randn(1024, 4096, dtype=dtype)
        seconds = min(timed(lambda one=one, other=other: one @ other)[1] for _ in range(20))
        rates[name] = round(2 * one.shape[0] * other.numel() / seconds / 1e12, 3)
    return rates


def read_milliseconds(frames: np.ndarray) -> float:
    """A frame's share of reading the case from a compressed .mha."""
    import SimpleITK

    from fetaliqa.sweep import read_sweep

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.mha"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(frames), str(path), useCompression=True)
        _, seconds = timed(lambda: read_sweep(path))
    return round(1000 * seconds / len(frames), 2)


def agreement(ours: Any, reference: Any) -> dict[str, Any]:
    """Differences between two assessments of the same frames."""
    before, after = ours.masks > 0, reference.masks > 0
    drawn = before.any(axis=(1, 2)), after.any(axis=(1, 2))
    both = np.flatnonzero(drawn[0] & drawn[1])
    dice = [2 * (before[one] & after[one]).sum() / (before[one].sum() + after[one].sum()) for one in both]
    scores = [
        abs(one["quality"] - other["quality"])
        for one, other in zip(ours.record["frames"], reference.record["frames"])
        if one["quality"] is not None
    ]
    best = [one["best"] == other["best"] for one, other in zip(ours.record["sweeps"], reference.record["sweeps"])]
    return {
        "dice": np.array(dice),
        "frames": len(scores),
        "frames_that_change_sides": int((drawn[0] != drawn[1]).sum()),
        "quality_difference_max": round(max(scores), 5),
        "same_best_frame": sum(best),
        "sweeps": len(best),
    }


class StandInStudent:
    """Assesses every frame with the compact model that ships, then has the large model assess a given share."""

    def __init__(self, share: float) -> None:
        from fetaliqa.inference.screened_search import ScreenLimits
        from fetaliqa.inference.student import Screening, Student
        from fetaliqa.model import Bundle
        from fetaliqa.registry.model_store import resolve_bundle

        self.limits = ScreenLimits(floor=0.5, margin=1.0)
        self.fingerprint, self.seconds, self._share = "", 0.0, share
        bundle = Bundle.open(resolve_bundle("abdomen"))
        self._student = Student(bundle, Screening(self.limits, "", {}, {}), "cpu")

    def guess(self, sweep: Any, indices: np.ndarray) -> np.ndarray:
        """1 for the share of frames to assess, else 0."""
        _, seconds = timed(lambda: self._student.guess(sweep, indices))
        self.seconds += seconds
        due = np.floor(np.arange(1, len(indices) + 1) * self._share + 0.5)
        return np.diff(due, prepend=0.0)


def measure(count: int, baseline_count: int, searched: int, share: float, screened_share: float) -> dict[str, Any]:
    """Everything, as one JSON object."""
    from fetaliqa.allocator import keep_freed_memory
    from fetaliqa.inference.assessment import assess
    from fetaliqa.inference.assessment_options import AssessOptions
    from fetaliqa.inference.predictor import Predictor
    from fetaliqa.sweep import sweep_from_array

    def sweep_of(some: np.ndarray, ranges: Any = None) -> Any:
        return sweep_from_array(some, (0.28, 0.28), sweeps=ranges, case_id="benchmark")

    keep_freed_memory()
    frames, ranges = case_frames(max(count, searched))
    model = full_size_model()
    result: dict[str, Any] = {
        "machine": machine(),
        "weights_gib": round(peak_gib(), 2),
        "matmul_teraflops": matmul_teraflops(),
    }
    shift_logits(model, frames)
    card = card_of(model)

    baseline, clock = Straightforward(model), Clock()
    part = np.ascontiguousarray(frames[:: max(1, count // baseline_count)][:baseline_count])
    baseline(part[:2], Clock())  # not counted
    _, seconds = timed(lambda: baseline(part, clock))
    result["straightforward"] = described(len(part), seconds, clock.seconds)
    for tap in baseline.taps:
        model.visual.transformer.resblocks[tap]._forward_hooks.clear()
    reference = assess(sweep_of(part), Predictor.of_model(copy.deepcopy(model), card, precision="fp32"))

    chosen = Predictor.of_model(model, card)  # bfloat16 from here on, where the CPU has it
    assess(sweep_of(frames[:4]), chosen)
    close = agreement(assess(sweep_of(part), chosen), reference)
    _, seconds = timed(lambda: assess(sweep_of(frames[:count], one_to(ranges, count)), chosen))
    result["all masks"] = {"precision": chosen.precision, **described(count, seconds, {})}
    taken_apart = described(len(part), 1.0, stages(chosen, sweep_of(part)))
    result["all masks"]["milliseconds_a_frame"] = {
        "read": read_milliseconds(frames[:count]),
        **taken_apart["milliseconds_a_frame"],
    }
    close["dice_mean"] = round(float(close.pop("dice").mean()), 5)
    result["all masks"]["agreement with fp32"] = close
    assessment, seconds = timed(
        lambda: assess(sweep_of(frames[:searched], one_to(ranges, searched)), chosen, AssessOptions(search=True))
    )
    looked = sum(one["positive"] is not None for one in assessment.record["frames"])
    result["best frame only"] = {**described(searched, seconds, {}), "frames_looked_at": looked}
    part_of = sweep_of(frames[:searched], one_to(ranges, searched))
    student = StandInStudent(share)
    assessment, seconds = timed(lambda: assess(part_of, chosen, AssessOptions(search=True), student=student))
    looked = sum(one["positive"] is not None for one in assessment.record["frames"])
    how = "random weights; the share of frames assessed, {}, is that of benchmarks/search.py"
    result["best frame with a student"] = {
        **described(searched, seconds, {"student": student.seconds}),
        "frames_looked_at": looked,
        "how": how.format(share),
    }
    result["outlines of screened frames"] = {
        **screened(part_of, frames, chosen, round(screened_share * searched)),
        "how": how.format(screened_share),
    }
    rate = result["straightforward"]["frames_per_second"]
    for name in ("all masks", "best frame only", "best frame with a student", "outlines of screened frames"):
        result[name]["times_straightforward"] = round(result[name]["frames_per_second"] / rate, 2)
    result["peak_gib"] = round(peak_gib(), 2)
    return result


def screened(sweep: Any, frames: np.ndarray, predictor: Any, looked_at: int) -> dict[str, Any]:
    """Every frame guessed, so many assessed, in rounds: a model of random weights outlines all that it sees, and
    so real screening would go on from one frame to the next.
    """
    from fetaliqa.inference.assessment import assess
    from fetaliqa.sweep import sweep_from_array

    student = StandInStudent(0.0)
    student.guess(sweep, np.arange(sweep.frame_count))
    seconds = student.seconds
    for part in np.split(frames[:looked_at], [round(0.8 * looked_at), round(0.95 * looked_at)]):
        worth_it = sweep_from_array(part, sweep.spacing, case_id="worth it")
        seconds += timed(lambda part=worth_it: assess(part, predictor))[1]
    parts = {"student": student.seconds}
    return {**described(sweep.frame_count, seconds, parts), "frames_looked_at": looked_at}


def one_to(ranges: Any, count: int) -> Any:
    """The sweeps among the first frames."""
    return tuple((start, min(stop, count)) for start, stop in ranges if start < count)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=140)
    parser.add_argument("--baseline-frames", type=int, default=32)
    parser.add_argument(
        "--searched", type=int, default=840, help="frames of the case whose best frame is searched"
    )
    parser.add_argument("--share", type=float, default=0.07, help="of frames assessed with a student")
    parser.add_argument("--screened-share", type=float, default=0.17, help="of frames assessed by screening")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = measure(args.frames, args.baseline_frames, args.searched, args.share, args.screened_share)
    print(json.dumps(result, indent=None if args.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
