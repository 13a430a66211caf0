"""Numerical precision of the encoder: float32, or bfloat16 on devices where it is faster.

On a CPU with bfloat16 instructions (AMX, AVX-512 BF16) and on a CUDA device with them (Ampere and later) a large
encoder in bfloat16 is several times as fast as in float32 (docs/performance.md). The residual stream and its norms
stay in float32: matrix products take most of the time, and rounding accumulates in the sum of dozens of blocks.
    The
decoder stays in float32 too: its results in bfloat16 exceeded the accepted error. Weights are converted once.
Autocast is not used: on CUDA it converts weights in each pass and accumulates in bfloat16, and on one AMX machine
    it
ran ViT-L at 0.12 frames/s, float32 at 2.0.
"""

from __future__ import annotations

import torch
from torch import nn

from fetaliqa.errors import OptionError
from fetaliqa.inference.assessment_options import PRECISIONS
from fetaliqa.inference.devices import cuda_has_bf16
from fetaliqa.model.architecture import EncoderConfig, VisionConfig
from fetaliqa.model.encoder_kinds import encoder_parameters
from fetaliqa.model.encoder_model import EncoderModel

LEAST_PARAMETERS = 20_000_000  # of an encoder; smaller ones gain little


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in checks)


def chosen_precision(name: str, device: torch.device, vision: EncoderConfig) -> str:
    """Resolve a precision option to ``fp32`` or ``bf16``.

    Args:
        name: ``auto``, ``fp32`` or ``bf16``; ``auto`` uses bfloat16 for a large encoder if the device supports it.
        device: device of the computation.
        vision: the encoder; others than transformers compute in float32 only.

    Raises:
        OptionError: for another name, or when bfloat16 is not possible.
    """
    if name not in PRECISIONS:
        raise OptionError(f"precision is {name!r}; it must be one of {', '.join(PRECISIONS)}")
    if not isinstance(vision, VisionConfig):
        if name == "bf16":
            raise OptionError(f"precision is bf16, which {vision.name} does not support; use auto or fp32")
        return "fp32"
    if name != "auto":
        return name
    if encoder_parameters(vision) < LEAST_PARAMETERS:
        return "fp32"
    return "bf16" if (cuda_has_bf16(device) if device.type == "cuda" else cpu_has_bf16()) else "fp32"


def set_precision(model: EncoderModel, name: str, device: torch.device) -> str:
    """Convert a model's encoder to a precision, in place; returns ``fp32`` or ``bf16``."""
    vision = model.architecture.vision
    precision = chosen_precision(name, device, vision)
    if precision == "bf16":
        for block in model.visual.transformer.resblocks:  # type: ignore[union-attr]
            block.ln_1, block.ln_2 = _ShortNorm(block.ln_1), _ShortNorm(block.ln_2)
            block.attn.to(torch.bfloat16)
            block.mlp.to(torch.bfloat16)
    return precision


class _ShortNorm(nn.Module):
    """A layer norm of the float32 residual stream with a bfloat16 result."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        return self.norm(stream).to(torch.bfloat16)
