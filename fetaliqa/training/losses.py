"""Losses for frames of which most show nothing to outline."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

# Pixels added to both sides of the Dice ratio: the paper's frame rule (1 % of 224 x 224 = 502 px). On a
# frame without outline the loss then rises steeply where the predicted area nears the size that would
# make the frame positive, instead of giving no gradient as an unsmoothed Dice loss does.
SMOOTH_PIXELS = 502.0


def smoothed_dice_loss(logits: torch.Tensor, targets: torch.Tensor, smooth: float = SMOOTH_PIXELS) -> torch.Tensor:
    """Mean over frames of ``1 - (2 |P T| + s) / (|P| + |T| + s)``.

    Args:
        logits: float [N, H, W].
        targets: float [N, H, W], from 0 to 1.
        smooth: s, in pixels of the given size.
    """
    probabilities = torch.sigmoid(logits)
    overlap = (probabilities * targets).sum(dim=(1, 2))
    total = probabilities.sum(dim=(1, 2)) + targets.sum(dim=(1, 2))
    return (1 - (2 * overlap + smooth) / (total + smooth)).mean()


def outline_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Pixel cross-entropy plus smoothed Dice; gradient on every frame, with or without an outline."""
    return functional.binary_cross_entropy_with_logits(logits, targets) + smoothed_dice_loss(logits, targets)


def coarse_outline_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """:func:`outline_loss` on a coarse grid: targets [N, H, W] are averaged over the logits' larger pixels."""
    factor = targets.shape[-1] // logits.shape[-1]
    share = functional.avg_pool2d(targets[:, None], factor)[:, 0]
    dice = smoothed_dice_loss(logits, share, SMOOTH_PIXELS / factor**2)
    return functional.binary_cross_entropy_with_logits(logits, share) + dice
