"""Prepacked oneDNN linear layers of a transformer encoder on CPUs.

PyTorch's linear layers reorder their weights in each pass (bfloat16) or use MKL (float32), which on AMD CPUs is
about half as fast as oneDNN with AVX-512, and faster with AVX2 (docs/performance.md). Here oneDNN is used for both
types where it is faster, on weights that are reordered once, with a fused GELU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import nn

from fetaliqa.inference.precision import LEAST_PARAMETERS, cpu_has_bf16
from fetaliqa.model.architecture import VisionConfig
from fetaliqa.model.encoder_kinds import encoder_parameters
from fetaliqa.model.encoder_model import EncoderModel


class PackedLinear(nn.Module):
    """A linear layer with an optional GELU; [..., inputs] to [..., outputs]."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, gelu: bool = False) -> None:
        super().__init__()
        # no buffers: reordered weights can be neither moved nor converted nor saved
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)
        self._bias = None if bias is None else bias.detach().clone()
        self._after = "gelu" if gelu else "none"

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(values, self._weight, self._bias, self._after, [], "none")


class ProjectedAttention(nn.Module):
    """open_clip's self-attention with other linear layers, without the options that FetalCLIP does not use.

    Args:
        heads: number of attention heads.
        into: projection to queries, keys and values, [..., width] to [..., 3 * width].
        out: output projection, [..., width] to [..., width].
    """

    def __init__(self, heads: int, into: nn.Module, out: nn.Module) -> None:
        super().__init__()
        self._heads, self._into, self._out = heads, into, out

    def forward(self, tokens: torch.Tensor, attn_mask: torch.Tensor | None = None) -> torch.Tensor:
        """[N, tokens, width], as open_clip's blocks call it."""
        if attn_mask is not None:
            raise ValueError("attention masks are not supported")
        count, length, width = tokens.shape
        parts = self._into(tokens).reshape(count, length, 3, self._heads, width // self._heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self._out(mixed.transpose(1, 2).reshape(count, length, width))


def cpu_has_avx512() -> bool:
    """Whether PyTorch computes with AVX-512 here."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def can_pack(precision: str) -> bool:
    """Whether this PyTorch and this CPU have these operators, and they are faster.

    Args:
        precision: ``fp32`` or ``bf16``.
    """
    if precision == "fp32" and not cpu_has_avx512():
        return False
    if not torch.backends.mkldnn.is_available() or (precision == "bf16" and not cpu_has_bf16()):
        return False
    return all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))


@torch.no_grad()
def pack_encoder(model: EncoderModel, precision: str) -> bool:
    """Prepack the linear layers of a large encoder on a CPU, in place; returns whether it was done.

    A small encoder (``precision.LEAST_PARAMETERS``) gains little. Outputs are the same up to rounding. The model
    can be neither trained nor saved nor moved afterwards; its original weights are freed.

    Args:
        model: model on a CPU, in eval mode with merged adapters, in its precision.
        precision: ``fp32`` or ``bf16``.
    """
    vision = model.architecture.vision
    if not isinstance(vision, VisionConfig):
        return False
    if encoder_parameters(vision) < LEAST_PARAMETERS or not can_pack(precision):
        return False
    for block in model.visual.transformer.resblocks:  # type: ignore[union-attr]
        attention = block.attn
        into = PackedLinear(attention.in_proj_weight, attention.in_proj_bias)
        out = PackedLinear(attention.out_proj.weight, attention.out_proj.bias)
        block.attn = ProjectedAttention(attention.num_heads, into, out)
        block.mlp.c_fc = PackedLinear(block.mlp.c_fc.weight, block.mlp.c_fc.bias, gelu=True)
        block.mlp.gelu = nn.Identity()
        block.mlp.c_proj = PackedLinear(block.mlp.c_proj.weight, block.mlp.c_proj.bias)
    return True
