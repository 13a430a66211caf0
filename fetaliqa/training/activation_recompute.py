"""Encoder blocks that are computed again in the backward pass, instead of keeping what they made.

open_clip has such a setting of its own, which its custom block (``fetaliqa.model.image_encoder``) does not take.
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def recomputes(model: nn.Module) -> bool:
    """Whether the model's encoder blocks are computed again in the backward pass."""
    return any("forward" in vars(block) for block in _blocks(model))


def recompute_blocks(model: nn.Module, on: bool) -> bool:
    """Let the model's encoder blocks be computed again in the backward pass, or not; False where it has none.

    The same values: dropout is drawn again as it was.
    """
    for block in _blocks(model):
        vars(block).pop("forward", None)
        if on:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
    return bool(_blocks(model))


def _blocks(model: nn.Module) -> list[nn.Module]:
    transformer = getattr(getattr(model, "visual", None), "transformer", None)
    return list(getattr(transformer, "resblocks", ()))
