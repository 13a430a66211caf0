"""The segmentation decoder for inference: the same function with fewer passes over memory.

At full size the plain modules spend most of the decoder's time moving memory, not on arithmetic
(docs/performance.md). Three identities, exact up to rounding, avoid that:

- A depthwise 2 x 2 transposed convolution of stride 2 followed by a 1 x 1 convolution is one matrix product per
  coarse pixel, to four times the channels, which are then laid out as 2 x 2 pixels.
- Without such a convolution, it is a broadcast multiplication and addition.
- A depthwise and a 1 x 1 convolution of two concatenated maps are the sum of those of each map, so the maps need
  not be concatenated.

In addition, few frames are decoded at a time: their full-resolution maps stay in the CPU caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

from fetaliqa.model.architecture import DECODER_STRIDE
from fetaliqa.model.decoder import UnetrDecoder, fuse_batch_norms, on_decoder_grid

AT_ONCE_BYTES = 8 << 20  # size of a full-resolution map on a CPU that stays in the caches


class FastDecoder(nn.Module):
    """Computes the output of a ``UnetrDecoder`` in eval mode, for inference only.

    Args:
        decoder: the decoder; it is modified, and its modules become part of this one.
    """

    def __init__(self, decoder: UnetrDecoder) -> None:
        super().__init__()
        fuse_batch_norms(decoder.eval())
        self.up_deepest = _MixedUp(decoder.up_deepest)
        self.skip_deep = _Doubled(decoder.skip_deep)
        self.skip_middle = _chain(decoder.skip_middle)
        self.skip_shallow = _chain(decoder.skip_shallow)
        self.skip_image = decoder.skip_image
        self.merge_deep = _Merge(decoder.merge_deep)
        self.merge_middle = _Merge(decoder.merge_middle)
        self.merge_shallow = _Merge(decoder.merge_shallow)
        self.head = _Merge(decoder.head)
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Decode.

        Args:
            images: float [N, 3, S, S], normalised.
            features: four float [N, width, G, G], from the shallowest tap to the deepest.

        Returns:
            Logits, float [N, 1, S, S].
        """
        count = len(images) if images.device.type != "cpu" else self._at_once(images)
        parts = [
            self._decode(images[start : start + count], [one[start : start + count] for one in features])
            for start in range(0, len(images), count)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _at_once(self, images: torch.Tensor) -> int:
        last: Any = self.head.last
        frame = last.in_channels * images.shape[-1] * images.shape[-2] * last.weight.element_size()
        return max(1, AT_ONCE_BYTES // frame)

    def _decode(self, images: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        shallow, middle, deep, deepest = on_decoder_grid(features, images.shape[-1] // DECODER_STRIDE)
        merged = self.merge_deep(self.skip_deep(deep), self.up_deepest(deepest))
        merged = self.merge_middle(self.skip_middle(middle), merged)
        merged = self.merge_shallow(self.skip_shallow(shallow), merged)
        return self.head(self.skip_image(images), merged)


class _MixedUp(nn.Module):
    """Depthwise upsampling and the 1 x 1 convolution after it: [N, C, H, W] to [N, O, 2 H, 2 W]."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        double, mix = step
        mixing = mix.weight[:, :, 0, 0]  # [O, C]
        self.out = mixing.shape[0]
        weight = torch.einsum("oc,cab->aboc", mixing, double.weight[:, 0])
        self.weight = nn.Parameter(weight.reshape(4 * self.out, -1).detach().clone())
        self.bias = nn.Parameter((mixing @ double.bias + mix.bias).repeat(4).detach())

    def forward(self, coarse: torch.Tensor) -> torch.Tensor:
        count, _, height, width = coarse.shape
        pixels = functional.linear(coarse.permute(0, 2, 3, 1), self.weight, self.bias)
        pixels = pixels.view(count, height, width, 2, 2, self.out).permute(0, 1, 3, 2, 4, 5)
        return pixels.reshape(count, 2 * height, 2 * width, self.out).permute(0, 3, 1, 2)


class _Doubled(nn.Module):
    """Depthwise upsampling, [N, C, H, W] to [N, C, 2 H, 2 W], and the convolutions after it."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        double, *after = step
        self.weight = nn.Parameter(double.weight[:, 0].permute(1, 2, 0)[:, None].detach().clone())  # [2, 1, 2, C]
        self.bias = nn.Parameter(double.bias.detach().clone())
        self.after = nn.Sequential(*after)

    def forward(self, coarse: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = coarse.shape
        pixels = coarse.permute(0, 2, 3, 1)[:, :, None, :, None]
        fine = torch.addcmul(self.bias, pixels, self.weight)  # [N, H, 2, W, 2, C]
        return self.after(fine.reshape(count, 2 * height, 2 * width, channels).permute(0, 3, 1, 2))


class _Merge(nn.Module):
    """Convolutions on two maps with equal channels, as if concatenated, and the modules after them."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        convolutions, after = step
        (depthwise, _, _, mix, _, relu), *rest = convolutions
        half = depthwise.in_channels // 2
        self.first, self.second = (
            nn.Sequential(_half_depthwise(depthwise, part), nn.ReLU(inplace=True), _half_mix(mix, part))
            for part in (slice(0, half), slice(half, None))
        )
        self.rest = nn.Sequential(relu, *rest)
        self.last = after
        if isinstance(after, nn.Sequential):
            self.last = _MixedUp(after)

    def forward(self, skip: torch.Tensor, merged: torch.Tensor) -> torch.Tensor:
        return self.last(self.rest(self.first(skip).add_(self.second(merged))))


def _half_depthwise(conv: Any, part: slice) -> nn.Conv2d:
    weight, bias = conv.weight[part], conv.bias[part]
    half = nn.Conv2d(len(weight), len(weight), 3, padding=1, groups=len(weight), device=weight.device)
    return _filled(half, weight, bias)


def _half_mix(conv: nn.Conv2d, part: slice) -> nn.Conv2d:
    """One half of a 1 x 1 convolution; the first half adds the bias."""
    weight = conv.weight[:, part]
    half = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=part.start == 0, device=weight.device)
    return _filled(half, weight, conv.bias)


def _filled(conv: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Conv2d:
    conv.weight = nn.Parameter(weight.detach().clone())
    if conv.bias is not None and bias is not None:
        conv.bias = nn.Parameter(bias.detach().clone())
    return conv


def _chain(steps: Any) -> nn.Sequential:
    return nn.Sequential(*(_Doubled(step) for step in steps))
