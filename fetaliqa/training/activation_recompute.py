"""Activation checkpointing: encoder blocks are recomputed in the backward pass, to save memory.

open_clip's own setting does not cover the custom block in ``fetaliqa.model.image_encoder``.
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def recomputes(model: nn.Module) -> bool:
    """Whether the model's encoder blocks are recomputed in the backward pass."""
    return any("forward" in vars(block) for block in _blocks(model))


def recompute_blocks(model: nn.Module, on: bool) -> bool:
    """Switch recomputation of the encoder blocks in the backward pass; returns False for a model without blocks.

    Results do not change: dropout is redrawn from the same random state.
    """
    for block in _blocks(model):
        vars(block).pop("forward", None)
        if on:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
    return bool(_blocks(model))


def _blocks(model: nn.Module) -> list[nn.Module]:
    transformer = getattr(getattr(model, "visual", None), "transformer", None)
    return list(getattr(transformer, "resblocks", ()))
