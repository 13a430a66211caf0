"""Losses for frames of which most show nothing to outline."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

# Pixels added to both sides of the Dice ratio: the paper's frame rule (1 % of 224 x 224 = 502 px). On a
# frame without outline the loss then rises steeply where the predicted area nears the size that would
# make the frame positive, instead of giving no gradient as an unsmoothed Dice loss does.
SMOOTH_PIXELS = 502.0


def smoothed_dice_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over frames of ``1 - (2 |P T| + s) / (|P| + |T| + s)``.

    Args:
        logits: float [N, H, W].
        targets: float [N, H, W] of 0 and 1.
    """
    probabilities = torch.sigmoid(logits)
    overlap = (probabilities * targets).sum(dim=(1, 2))
    total = probabilities.sum(dim=(1, 2)) + targets.sum(dim=(1, 2))
    return (1 - (2 * overlap + SMOOTH_PIXELS) / (total + SMOOTH_PIXELS)).mean()


def outline_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Pixel cross-entropy plus smoothed Dice; gradient on every frame, with or without an outline."""
    return functional.binary_cross_entropy_with_logits(logits, targets) + smoothed_dice_loss(logits, targets)
