"""In which numbers the encoder computes: what the device is quick at, with the same answers.

On a CPU with bfloat16 instructions (AMX, AVX-512 BF16) a large encoder in bfloat16 is several times as fast as in
float32 (docs/performance.md); the decoder, whose answers are pixels, stays in float32. CPU autocast is never used:
on one AMX machine it ran ViT-L at 0.12 frames/s where float32 has 2.0.
"""

from __future__ import annotations

import math

import torch

from fetaliqa.errors import OptionError
from fetaliqa.models.architecture import VisionConfig
from fetaliqa.models.encoder_model import EncoderModel
from fetaliqa.models.tower import tower_shapes

PRECISIONS = ("auto", "fp32", "bf16")
LEAST_PARAMETERS = 20_000_000  # of an encoder; a small one gains little, and its answers would move for nothing


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in checks)


def chosen_precision(name: str, device: torch.device, parameters: int) -> str:
    """``fp32`` or ``bf16`` for a wish.

    Args:
        name: ``auto``, ``fp32`` or ``bf16``.
        device: where it is computed; on CUDA bfloat16 is autocast.
        parameters: of the encoder.

    Raises:
        OptionError: for another name.
    """
    if name not in PRECISIONS:
        raise OptionError(f"precision is {name!r}; it must be one of {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16"
    return "bf16" if parameters >= LEAST_PARAMETERS and cpu_has_bf16() else "fp32"


def parameters_of(vision: VisionConfig) -> int:
    """Numbers in an encoder of this size."""
    return sum(math.prod(shape) for shape in tower_shapes(vision).values())


def set_precision(model: EncoderModel, name: str, device: torch.device) -> str:
    """Make a model's encoder compute as wished, in place; returns ``fp32`` or ``bf16``."""
    chosen = chosen_precision(name, device, parameters_of(model.architecture.vision))
    if chosen == "bf16" and device.type == "cpu":
        model.visual.to(torch.bfloat16)
    return chosen
