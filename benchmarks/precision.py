"""Speed and agreement of the encoder in bfloat16 and with 8-bit matrix products, compared with float32.

The 8-bit encoder is an experiment and not part of the package: weights are rounded per output channel, activations
per token (dynamically, symmetric), sums are of 32 bits (``torch._int_mm``, which takes VNNI or
AMX). So is the decoder in bfloat16, what CUDA's autocast would make of it. Speed is that of an encoder of
FetalCLIP's size with random weights, laid out beforehand as they are in use (float32 as PyTorch has it, too);
answers are the demo model's, whose encoder is small and not laid out, on phantom cases.

    python benchmarks/precision.py [--seeds 73000 73001] [--threads 2]
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

PLAIN = "fp32 by PyTorch's own layers"
PRECISIONS = (PLAIN, "fp32", "bf16", "int8")
BF16_DECODER = "bf16, decoder too"


class Int8Linear(nn.Module):
    """A linear layer on integers.

    Args:
        weight: float [out, in].
        bias: float [out].
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.scale = weight.abs().amax(dim=1) / 127
        self.weight = (weight / self.scale[:, None]).round().to(torch.int8).t().contiguous()
        self.bias = bias

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        rows = values.reshape(-1, values.shape[-1])
        scale = rows.abs().amax(dim=1, keepdim=True).clamp_min(1e-8) / 127
        sums = torch._int_mm((rows / scale).round_().to(torch.int8), self.weight)
        return torch.addcmul(self.bias, sums * scale, self.scale).view(*values.shape[:-1], -1)


def to_int8(visual: Any) -> None:
    """Round the blocks of an encoder, in place."""
    from fetaliqa.inference.packed_weights import ProjectedAttention

    for block in visual.transformer.resblocks:
        own = block.attn
        into = Int8Linear(own.in_proj_weight.data, own.in_proj_bias.data)
        out = Int8Linear(own.out_proj.weight.data, own.out_proj.bias.data)
        block.attn = ProjectedAttention(own.num_heads, into, out)
        for name in ("c_fc", "c_proj"):
            layer = getattr(block.mlp, name)
            setattr(block.mlp, name, Int8Linear(layer.weight.data, layer.bias.data))


class Bf16Decoder(nn.Module):
    """A decoder in bfloat16."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder.to(torch.bfloat16)

    def forward(self, images: torch.Tensor, maps: list[torch.Tensor]) -> torch.Tensor:
        return self.decoder(images.bfloat16(), [one.bfloat16() for one in maps])


def compare(seeds: list[int]) -> dict[str, Any]:
    """How far the demo model's assessments are from those in float32."""
    from case_speed import agreement

    from fetaliqa.inference import assess
    from fetaliqa.inference.predictor import Predictor
    from fetaliqa.lab.phantom.phantom_excerpt import subsampled_phantom
    from fetaliqa.model import Bundle
    from fetaliqa.registry.model_store import resolve_bundle
    from fetaliqa.sweep import sweep_from_array

    bundle = Bundle.open(resolve_bundle("demo"))
    base = {"fp32": "fp32", "bf16": "bf16", BF16_DECODER: "bf16", "int8": "fp32"}
    predictors = {name: Predictor(bundle, "cpu", precision=start) for name, start in base.items()}
    to_int8(predictors["int8"].model.visual)
    predictors[BF16_DECODER].model.decoder = Bf16Decoder(predictors[BF16_DECODER].model.decoder)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in base if name != "fp32"}
    for seed in tqdm(seeds, desc="cases", disable=None):
        case = subsampled_phantom(seed, 1).case
        sweep = sweep_from_array(case.frames, case.spacing, sweeps=case.ranges, case_id=case.case_id)
        reference = assess(sweep, predictors["fp32"])
        for name, cases in results.items():
            cases.append(agreement(assess(sweep, predictors[name]), reference))
    return {"seeds": seeds, **{name: together(cases) for name, cases in results.items()}}


def together(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Agreement averaged over cases."""
    dice = np.concatenate([one["dice"] for one in cases])
    return {
        "frames_with_outline_in_both": len(dice),
        "dice_mean": round(float(dice.mean()), 5),
        "dice_min": round(float(dice.min()), 5),
        "frames_that_change_sides": sum(one["frames_that_change_sides"] for one in cases),
        "frames": sum(one["frames"] for one in cases),
        "quality_difference_max": max(one["quality_difference_max"] for one in cases),
        "same_best_frame": sum(one["same_best_frame"] for one in cases),
        "sweeps": sum(one["sweeps"] for one in cases),
    }


def speed() -> dict[str, Any]:
    """Milliseconds a frame in batches of 8, the least of three, of each precision in turn."""
    from straightforward import full_size_model
    from timing import machine

    from fetaliqa.inference.packed_weights import pack_encoder
    from fetaliqa.inference.precision import cpu_has_bf16, set_precision

    plain, images = full_size_model(), torch.randn(8, 3, 224, 224)
    models = {name: plain if name == PLAIN else copy.deepcopy(plain) for name in PRECISIONS}
    set_precision(models["bf16"], "bf16", torch.device("cpu"))
    for name in ("fp32", "bf16"):
        pack_encoder(models[name], name)
    to_int8(models["int8"].visual)
    if not cpu_has_bf16():
        del models["bf16"]  # without hardware for it a frame takes minutes
    seconds = dict.fromkeys(models, np.inf)
    with torch.inference_mode():
        for _ in range(3):
            for name, model in models.items():
                started = time.perf_counter()
                model.visual(images)
                seconds[name] = min(seconds[name], time.perf_counter() - started)
    return {
        "machine": machine(),
        "milliseconds_a_frame": {name: round(1000 * value / len(images)) for name, value in seconds.items()},
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[73_000, 73_001])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(json.dumps({"answers": compare(args.seeds), "speed": speed()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
