"""One step of an exponential moving average of a model's weights."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn


def decay_at(step: int, decay: float) -> float:
    """The decay at a step, counted from 0; it grows to ``decay``, so that the initial weights are forgotten."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def move_towards(average: nn.Module, new: nn.Module, share: float) -> None:
    """Interpolate the floating-point values of a model towards those of ``new`` by a share (0 to 1).

    Counters are copied. Frozen parameters are equal in both and are skipped.
    """
    pairs = [
        (old, now.detach().to(old.device))
        for old, now in zip(chain(average.parameters(), average.buffers()), chain(new.parameters(), new.buffers()))
        if now.requires_grad or not isinstance(now, nn.Parameter)
    ]
    moved = [(old, now) for old, now in pairs if old.is_floating_point()]
    if moved:
        torch._foreach_lerp_([old for old, _ in moved], [now for _, now in moved], share)
    for old, now in pairs:
        if not old.is_floating_point():
            old.copy_(now)
