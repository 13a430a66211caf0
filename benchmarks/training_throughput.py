"""Training speed on a CUDA device in steps per second, and the utilisation of the device.

The recipe ``fetaliqa`` as the product runs it (Lightning, LoRA and decoder, bfloat16, batches of 32, AdamW,
averaging, clipping, online augmentation on the device; epochs of 20 steps with validation,
checkpoints and a retraining's progress file), on FetalCLIP_SEG at full size with random weights and on made-up
frames; or the recipe ``decoder`` with cached encoder features. FLOPs of a step are counted on a forward and
backward pass of one frame; the peak is a large bfloat16 matrix product. The first steps are not in the figures;
steps per second are given without and with validation and checkpoints.

    python benchmarks/training_throughput.py [--steps 40] [--nondeterministic] [--compiled] [--json]
    python benchmarks/training_throughput.py --recipe decoder                  # the same options
    python benchmarks/training_throughput.py --device cpu --small      # only tries the script: a small model

Without a CUDA device it ends with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_case import device_facts, device_named, peak_teraflops, profiled, top_kernels
from lightning.pytorch.callbacks import Callback
from torch.utils.flop_counter import FlopCounterMode

GOAL_SHARE = 0.4  # of the peak
WARM_UP = 10  # steps that are not counted: libraries choose kernels, memory is taken
EPOCH = 20  # steps, as a retraining's: a validation and checkpoints after each
PROFILED = 3  # steps, after those that are timed


class Timer(Callback):
    """Times some steps of a run, and profiles some after them.

    Attributes:
        seconds: of the timed steps.
        between: seconds of validation and checkpoints between them.
        kernels: the longest ones of the profiled steps.
    """

    def __init__(self, first: int, last: int, device: torch.device) -> None:
        self.first, self.last, self._device = first, last, device
        self.seconds, self.between, self.kernels = 0.0, 0.0, list[dict[str, Any]]()
        self._started, self._profile = 0.0, profiled(device)
        self._paused: float | None = None

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_validation_start(self, trainer: Any, *_: Any) -> None:
        """Stop the clock of the steps."""
        if self.first <= trainer.global_step < self.last:
            self._paused = self._now()

    def on_train_batch_start(self, *_: Any) -> None:
        """Let it go on, once checkpoints are written."""
        if self._paused is not None:
            self.between += self._now() - self._paused
            self._paused = None

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Look at the clock, or at what was profiled, at the steps where something begins or ends."""
        step = trainer.global_step
        if step == self.first:
            self._started = self._now()
        elif step == self.last:
            self.seconds = self._now() - self._started - self.between
            self._profile.start()
        elif step == self.last + PROFILED:
            self._now()
            self._profile.stop()
            self.kernels = top_kernels(self._profile, self._device)


def made_up_frames(count: int, size: int) -> Any:
    """A store of grey noise; on every third frame a brighter disc is the outline."""
    from fetaliqa.training.frame_store import FrameStore
    from fetaliqa.training.training_frames import frames_of_case

    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    disc = (rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (size / 5) ** 2
    outlined = np.arange(count) % 3 == 0
    images = generator.integers(0, 150, (count, size, size)).astype(np.uint8)
    images[outlined] += (80 * disc).astype(np.uint8)
    masks = (outlined[:, None, None] & disc).astype(np.uint8)
    hard = np.arange(count) % 3 == 1
    frames = frames_of_case(images, masks, hard=hard, case=0, size=size)
    return FrameStore(
        frames, ("made up",), np.arange(count), np.zeros(count, int), np.zeros(count, bool), f"made up {count}"
    )


def gflop_a_frame(model: Any, size: int, device: torch.device, cached: bool) -> float:
    """Of a forward and a backward pass; ``cached``: of the decoder alone."""
    model.to(device).train()
    images = torch.zeros(1, 3, size, size, device=device)
    with torch.no_grad():
        maps = model.features(images) if cached else None
    with FlopCounterMode(display=False) as counter:
        logits = model(images) if maps is None else model.decoder(images, maps)
        logits.float().square().mean().backward()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops() / 1e9


def measure(
    device: torch.device, steps: int, small: bool, deterministic: bool, compiled: bool, name: str = "fetaliqa"
) -> dict[str, Any]:
    """Everything, as one JSON object."""
    from fetaliqa.model import build_segmentation
    from fetaliqa.retraining.progress_callback import TrainingProgress
    from fetaliqa.retraining.progress_file import Progress
    from fetaliqa.training.encoder_features import can_cache, prepare_features
    from fetaliqa.training.lightning_messages import quiet_lightning
    from fetaliqa.training.recipes import changed, recipe_named
    from fetaliqa.training.trainer import Machine, fit_model

    quiet_lightning()
    warm_up, epoch = (1, 2) if small else (WARM_UP, EPOCH)
    epochs = -(-(warm_up + steps + PROFILED) // epoch)
    recipe = changed(recipe_named(name), {"epochs": epochs, **({"batch_size": 4} if small else {})})
    torch.manual_seed(0)
    model = build_segmentation(
        "demo" if small else "fetalclip", random_init=True, encoder=recipe.encoder, lora=recipe.lora
    )
    size, cached = model.architecture.vision.image_size, can_cache(recipe)
    peak, gflop = peak_teraflops(device, small), gflop_a_frame(model, size, device, cached)
    if compiled:
        for block in model.visual.transformer.resblocks:
            block.compile()
    timer = Timer(warm_up, warm_up + steps, device)
    machine = Machine(device.type, progress=False, deterministic=deterministic, index=device.index or 0)
    stores = [made_up_frames(recipe.batch_size * count, size) for count in (epoch, 1)]
    with tempfile.TemporaryDirectory() as folder:
        held = [prepare_features(model, one, Path(folder), device=device) if cached else None for one in stores]
        fit_model(
            *(model, recipe, *stores, Path(folder)),
            seed=0,
            machine=machine,
            features=held[0],
            validation_features=held[1],
            callbacks=(TrainingProgress(Progress(Path(folder), 1)), timer),
        )
    rate = steps / timer.seconds
    teraflops = rate * recipe.batch_size * gflop / 1000
    result: dict[str, Any] = {
        "machine": device_facts(device),
        "computed": {**machine.described(recipe), "workers": machine.loader_workers(), "compiled": compiled},
        "frames_a_step": recipe.batch_size,
        "steps": steps,
        "recipe": name,
        "steps_per_second": round(rate, 3),
        "steps_per_second_with_validation_and_checkpoints": round(steps / (timer.seconds + timer.between), 3),
        "gflop_a_frame": round(gflop, 3),
        "teraflops": round(teraflops, 3),
        "peak_teraflops": round(peak, 3),
        "share_of_peak": round(teraflops / peak, 3),
        "goal": GOAL_SHARE,
        "floor_milliseconds_a_step": round(recipe.batch_size * gflop / peak, 3),
        "milliseconds_a_step": round(1000 / rate, 3),
        "longest": timer.kernels,
    }
    if device.type == "cuda":
        result["peak_gib"] = round(torch.cuda.max_memory_reserved(device) / 2**30, 2)
    return result


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N; cpu to try the script")
    parser.add_argument("--steps", type=int, help="that are timed (default 40; small: 3)")
    parser.add_argument("--recipe", choices=("fetaliqa", "decoder"), default="fetaliqa")
    parser.add_argument("--small", action="store_true", help="a small model and batches of 4")
    parser.add_argument("--nondeterministic", action="store_true", help="as `fetaliqa train --nondeterministic`")
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="a trial: the encoder's blocks by torch.compile, which the package is not",
    )
    parser.add_argument("--json", action="store_true", help="in one line")
    args = parser.parse_args(argv)
    device = device_named(args.device)
    steps = args.steps or (3 if args.small else 40)
    result = measure(device, steps, args.small, not args.nondeterministic, args.compiled, args.recipe)
    print(json.dumps(result, indent=None if args.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
