"""Training speed of FetalCLIP_SEG's decoder at full size, with random weights and random data.

Each way in a process of its own: the frozen encoder in the loop, or its features cached, as with the recipe
``decoder``; each with freed memory given back to the system after each tensor (glibc's way) or kept. Prints frames
per second and each way's ratio to the slowest of this run, and frames per second of the encoder alone.

    python benchmarks/decoder_training.py [--batch 16] [--steps 2] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from itertools import product

ENCODERS = ("in the loop", "cached", "alone")
MEMORY = ("given back", "kept")


def measure(encoder: str, memory: str, batch: int, steps: int, threads: int) -> float:
    """Frames per second of forward and backward passes, after one that is not counted."""
    import torch

    from fetaliqa.allocator import keep_freed_memory
    from fetaliqa.model import build_segmentation

    if memory == "kept":
        keep_freed_memory()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build_segmentation("fetalclip", random_init=True, encoder="frozen").train()
    model.visual.eval()
    images = torch.randn(batch, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    maps = torch.randn(4, batch, 1024, 14, 14)

    def step() -> None:
        if encoder in ("in the loop", "alone"):
            with torch.no_grad():
                features = model.features(images)
        else:
            features = [part.contiguous(memory_format=torch.channels_last) for part in maps]
        if encoder == "alone":
            return
        model.decoder(images, features).square().mean().backward()
        model.zero_grad(set_to_none=True)

    step()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return batch * steps / (time.perf_counter() - started)


def main() -> None:
    """Measure each way in a process of its own and print rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=2, metavar=("ENCODER", "MEMORY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one, args.batch, args.steps, args.threads)))
        return
    from fetaliqa.training.provenance import environment

    rates = {}
    for encoder, memory in product(ENCODERS, MEMORY):
        command = [sys.executable, __file__, "--one", encoder, memory]
        command += [f"--{name}={getattr(args, name)}" for name in ("batch", "steps", "threads")]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rates[encoder, memory] = float(out.splitlines()[-1])
        print(f"encoder {encoder}, freed memory {memory}: {rates[encoder, memory]:.2f} frames/s", flush=True)
    trained = {way: rate for way, rate in rates.items() if way[0] != "alone"}
    slowest = min(trained.values())
    for (encoder, memory), rate in trained.items():
        print(f"encoder {encoder}, freed memory {memory}: {rate / slowest:.1f} x the slowest")
    print(json.dumps(environment()))


if __name__ == "__main__":
    main()
