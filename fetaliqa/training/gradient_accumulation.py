"""Gradient accumulation over micro-batches, whose size is halved when memory runs out.

Where the loss is a mean over independent frames (no batch norm in training mode, no loss over all pixels of a
batch), the accumulated gradient equals that of the whole batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from fetaliqa.out_of_memory import free_memory, is_out_of_memory
from fetaliqa.training.training_frames import Batch

logger = logging.getLogger(__name__)

LossOf = Callable[[Batch, torch.Tensor | None], torch.Tensor]


class FramesAtOnce:
    """The size of a micro-batch.

    Args:
        frames: initial size; None: the whole batch.
        recompute: called when one frame at a time does not fit; returns False when nothing more can be tried.

    Attributes:
        frames: now.
    """

    def __init__(self, frames: int | None, recompute: Callable[[], bool]) -> None:
        self.frames, self._recompute = frames, recompute

    def compute(
        self, count: int, by_parts: Callable[[int], torch.Tensor], *, splits: bool, again: Callable[[], None]
    ) -> torch.Tensor:
        """Call ``by_parts`` with the size of a micro-batch, halved each time memory runs out.

        Args:
            count: frames in the batch.
            by_parts: computes the batch; gets the size of a micro-batch.
            splits: whether a batch may be split.
            again: called before a retry.
        """
        while True:
            size = min(self.frames or count, count) if splits else count
            try:
                return by_parts(size)
            except Exception as problem:
                if not is_out_of_memory(problem):
                    raise
                if splits and size > 1:
                    self.frames = -(-size // 2)
                    change = f"{self.frames} of {count} frames are computed at a time from now on"
                elif self._recompute():
                    change = "encoder blocks are recomputed in the backward pass from now on"
                else:
                    raise
            logger.warning("memory is short: %s", change)
            free_memory()
            again()


def parts_of(
    batch: Batch, held: torch.Tensor | None, size: int
) -> Iterator[tuple[float, Batch, torch.Tensor | None]]:
    """Parts of up to ``size`` frames: share of the batch, frames, and their features (``held``) where known."""
    count = len(batch.images)
    for start in range(0, count, size):
        own = slice(start, start + size)
        weights = None if batch.weights is None else batch.weights[own]
        part = Batch(batch.images[own], batch.outlines[own], weights)
        yield len(part.images) / count, part, None if held is None else held[own]


def loss_by_parts(
    loss_of: LossOf,
    batch: Batch,
    held: torch.Tensor | None,
    size: int,
    parameters: Sequence[torch.Tensor],
    scaled: Callable[[torch.Tensor], torch.Tensor] = lambda loss: loss,
) -> torch.Tensor:
    """The loss of a batch with its gradients computed part by part; ``backward`` returns these.

    Args:
        loss_of: mean loss of some frames.
        batch: the frames.
        held: their cached features, if any.
        size: frames of a part.
        parameters: that have gradients.
        scaled: the scale that ``backward`` will be called with, of a gradient scaler.
    """
    value: torch.Tensor | None = None
    gradients: list[torch.Tensor | None] = [None] * len(parameters)
    for share, part, part_held in parts_of(batch, held, size):
        loss = share * loss_of(part, part_held)
        with torch.autocast(loss.device.type, enabled=False):  # as Lightning does: of the forward pass only
            added = torch.autograd.grad(scaled(loss), list(parameters), allow_unused=True)
        gradients = [_added(old, new) for old, new in zip(gradients, added)]
        value = loss.detach() if value is None else value + loss.detach()
    return _Precomputed.apply(value, gradients, *parameters)  # type: ignore[no-any-return, no-untyped-call]


def _added(old: torch.Tensor | None, new: torch.Tensor | None) -> torch.Tensor | None:
    if old is None or new is None:
        return new if old is None else old
    return old.add_(new)


class _Precomputed(torch.autograd.Function):
    """A value with precomputed gradients, at the scale that ``backward`` is called with."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, gradients: list[Any], *_: torch.Tensor) -> torch.Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> Any:
        gradients, ctx.gradients = ctx.gradients, None
        return None, None, *gradients
