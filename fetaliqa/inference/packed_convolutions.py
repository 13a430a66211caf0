"""Prepacked oneDNN convolutions of the compact model on CPUs, fused with the activation that follows.

PyTorch's convolutions reorder their weights in each pass and apply the activation in a separate pass over memory;
with one thread most of them do not use oneDNN, which is faster (docs/performance.md). Here oneDNN is called
directly, on weights that are reordered once.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

from fetaliqa.model.compact_model import CompactSeg

ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
OPERATORS = ("_reorder_convolution_weight", "_convolution_pointwise")


class PackedConv(nn.Module):
    """A convolution fused with the activation after it, for inference on a CPU in float32.

    Args:
        conv: the convolution.
        shape: shape of its input, [N, C, H, W]; another N gives the same result, but slower.
        activation: the activation that follows, one of ``ACTIVATIONS``; None for none.
    """

    def __init__(self, conv: nn.Conv2d, shape: tuple[int, ...], activation: nn.Module | None) -> None:
        # imported here: timm takes seconds to import, and is loaded already with such a model
        from timm.layers.conv2d_same import Conv2dSame
        from timm.layers.padding import pad_same_arg

        super().__init__()
        assert not isinstance(conv.padding, str)
        weight, (rows, columns) = conv.weight.detach(), conv.padding
        if isinstance(conv, Conv2dSame):
            # the padding is larger below and on the right; zeros before the kernel make it symmetric, so that
            # oneDNN pads without copying the map
            left, columns, top, rows = pad_same_arg(
                list(shape[2:]), list(conv.kernel_size), list(conv.stride), list(conv.dilation)
            )
            weight = functional.pad(weight, (columns - left, 0, rows - top, 0))
        self._where: tuple[Any, ...] = ([rows, columns], list(conv.stride), list(conv.dilation), conv.groups)
        # no buffers: reordered weights can be neither moved nor converted nor saved
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(
            weight.contiguous(memory_format=torch.channels_last), *self._where, list(shape)
        )
        self._bias = None if conv.bias is None else conv.bias.detach().clone()
        self._after: tuple[str, list[float]] = ("none", [])
        if activation is not None:
            self._after = ACTIVATIONS[type(activation)]

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._convolution_pointwise(
            maps, self._weight, self._bias, *self._where, *self._after, ""
        )


class Summed(nn.Module):
    """Sums maps one by one; ``MergeBlock`` copies them into one tensor first."""

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        total = maps[0] + maps[1]
        for other in maps[2:]:
            total += other
        return total


@torch.no_grad()
def pack_convolutions(model: CompactSeg, batch: int) -> bool:
    """Prepack the convolutions of a compact model on a CPU, in place; returns whether it was done.

    Outputs are the same up to rounding. The model can be neither trained nor saved nor moved afterwards.

    Args:
        model: model on a CPU, in eval mode, in float32, with folded batch norms.
        batch: usual batch size.
    """
    if not torch.backends.mkldnn.is_available() or not all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS):
        return False
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    hooks = [
        part.register_forward_pre_hook(lambda conv, inputs: shapes.__setitem__(conv, tuple(inputs[0].shape)))
        for part in model.modules()
        if isinstance(part, nn.Conv2d)
    ]
    side = model.architecture.vision.image_size
    model.outputs(torch.zeros(batch, 3, side, side))
    for one in hooks:
        one.remove()
    _pack_in(model, shapes)
    if model.decoder.pyramid.merge.policy == "add":
        model.decoder.pyramid.merge = Summed()
    return True


def _pack_in(module: nn.Module, shapes: dict[nn.Module, tuple[int, ...]]) -> None:
    parts = list(module.named_children())
    for (name, child), (after, activation) in zip(parts, [*parts[1:], ("", None)]):
        if not isinstance(child, nn.Conv2d):
            _pack_in(child, shapes)
            continue
        follows = type(activation) in ACTIVATIONS
        setattr(module, name, PackedConv(child, shapes[child], activation if follows else None))
        if follows:
            setattr(module, after, nn.Identity())
