"""Speed and accuracy of the encoder without the tokens of black patches.

A patch that is black in every frame of a case (padding to a square, and outside of the sector) holds no anatomy.
In this trial the encoder's blocks run on the other tokens only, and the decoder gets, in the places left out, what
one frame of the case had there when it was encoded whole. Answers are compared with the demo model's own on
phantom cases; time is measured with an encoder of FetalCLIP's size, whose random weights' answers mean nothing.

    python benchmarks/black_tokens.py [--seeds 74000 74001] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import torch

LEVEL = 3  # grey level up to which a pixel is black


def seen_tokens(squares: torch.Tensor, patch: int) -> torch.Tensor:
    """Which patches are lit in some frame: bool [G * G] of uint8 [N, S, S]."""
    lit = (squares > LEVEL).any(dim=0).float()
    return torch.nn.functional.max_pool2d(lit[None, None], patch)[0, 0].flatten() > 0


def features(model: Any, images: torch.Tensor, seen: torch.Tensor | None) -> list[torch.Tensor]:
    """Patch tokens at the decoder's depths, [N, G * G, C] each; only those of the places ``kept``, when given."""
    visual = model.visual
    tokens = visual._embeds(images)
    if seen is not None:
        tokens = torch.cat([tokens[:, :1], tokens[:, 1:][:, seen]], dim=1)
    maps = []
    for number, block in enumerate(visual.transformer.resblocks[: max(model.indices) + 1]):
        tokens = block(tokens)
        if number in model.indices:
            maps.append(tokens[:, 1:])
    return maps


def answers(model: Any, squares: torch.Tensor, drop: bool) -> np.ndarray:
    """Probabilities [N, S, S] of a case."""
    from fetaliqa.model import normalise

    vision = model.architecture.vision
    seen = torch.nonzero(seen_tokens(squares, vision.patch_size))[:, 0] if drop else None
    whole = features(model, normalise(squares[:1]), None)
    outputs = []
    for start in range(0, len(squares), 16):
        images = normalise(squares[start : start + 16])
        maps = features(model, images, seen)
        if seen is not None:
            filled = []
            for some, template in zip(maps, whole):
                tokens = template.expand(len(images), -1, -1).clone()
                tokens[:, seen] = some
                filled.append(tokens)
            maps = filled
        maps = [model._as_map(tokens) for tokens in maps]
        images = images.contiguous(memory_format=torch.channels_last)
        outputs.append(torch.sigmoid(model.decoder(images, maps))[:, 0])
    return torch.cat(outputs).numpy()


def compare(seeds: list[int]) -> dict[str, Any]:
    """The demo model's answers with and without black tokens."""
    from fetaliqa.inference.predictor import Predictor
    from fetaliqa.lab.phantom.phantom_excerpt import subsampled_phantom
    from fetaliqa.measure.square_grid import SquareGrid
    from fetaliqa.model import Bundle
    from fetaliqa.registry.model_store import resolve_bundle

    predictor = Predictor(Bundle.open(resolve_bundle("demo")), "cpu", precision="fp32")
    threshold = predictor.card.threshold
    dice, flips, frames, shares = [], 0, 0, []
    for seed in seeds:
        case = subsampled_phantom(seed, 1).case
        grid = SquareGrid(case.frames.shape[1], case.frames.shape[2], predictor.image_size)
        squares = grid.to_square(case.frames[case.frames.any(axis=(1, 2))])
        shares.append(float(seen_tokens(squares, predictor.model.architecture.vision.patch_size).float().mean()))
        with torch.inference_mode():
            full, short = (answers(predictor.model, squares, drop) for drop in (False, True))
        positive = [
            (one > threshold.frame).mean(axis=(1, 2)) > threshold.min_foreground_fraction for one in (full, short)
        ]
        flips += int((positive[0] != positive[1]).sum())
        frames += len(full)
        for one, other in zip(full[positive[0]], short[positive[0]]):
            before, after = one > threshold.probability, other > threshold.probability
            dice.append(float(2 * (before & after).sum() / (before.sum() + after.sum())))
    return {
        "frames": frames,
        "tokens_kept": round(float(np.mean(shares)), 3),
        "frames_with_outline": len(dice),
        "dice_mean": round(float(np.mean(dice)), 4),
        "dice_min": round(min(dice), 4),
        "frames_that_change_sides": flips,
    }


def seconds_of(model: Any, images: torch.Tensor, seen: torch.Tensor | None) -> float:
    """Least of three times a batch."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        features(model, images, seen)
        times.append(time.perf_counter() - started)
    return min(times)


def time_saved(share: float) -> dict[str, Any]:
    """Milliseconds a frame of a full-size encoder, with all tokens and with a share of them."""
    from straightforward import card_of, full_size_model
    from timing import machine

    from fetaliqa.inference.predictor import Predictor

    model = full_size_model()
    precision = Predictor.of_model(model, card_of(model)).precision
    count, images = model.architecture.vision.grid**2, torch.randn(16, 3, 224, 224)
    seen = torch.arange(round(share * count))
    with torch.inference_mode():
        whole, short = (seconds_of(model, images, one) / len(images) for one in (None, seen))
    return {
        "machine": machine(),
        "precision": precision,
        "all_tokens_ms": round(1000 * whole, 1),
        "kept_tokens_ms": round(1000 * short, 1),
        "ratio": round(whole / short, 2),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[74_000, 74_001])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = compare(args.seeds)
    print(json.dumps({"answers": result, "time": time_saved(result["tokens_kept"])}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
