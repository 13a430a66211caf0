"""Losses for frames of which most show nothing to outline."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from fetaliqa.geometry import GRID

# Pixels added to both sides of the Dice ratio: the paper's frame rule (1 % of 224 x 224 = 502 px). On a
# frame without outline the loss then rises steeply where the predicted area nears the size that would
# make the frame positive, instead of giving no gradient as an unsmoothed Dice loss does.
SMOOTH_PIXELS = 502.0


def smoothed_dice_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    smooth: float = SMOOTH_PIXELS,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over frames of ``1 - (2 |P T| + s) / (|P| + |T| + s)``.

    Args:
        logits: float [N, H, W].
        targets: float [N, H, W], from 0 to 1.
        smooth: s, in pixels of the given size.
        weights: float [N], of the frames in the mean; None: all 1.
    """
    probabilities = torch.sigmoid(logits)
    overlap = (probabilities * targets).sum(dim=(1, 2))
    total = probabilities.sum(dim=(1, 2)) + targets.sum(dim=(1, 2))
    losses = 1 - (2 * overlap + smooth) / (total + smooth)
    return losses.mean() if weights is None else (losses * weights).mean()


def outline_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    smooth: float = SMOOTH_PIXELS,
) -> torch.Tensor:
    """Pixel cross-entropy plus smoothed Dice; gradient on every frame, with or without an outline.

    Args:
        logits: float [N, H, W].
        targets: float [N, H, W], 0 or 1.
        weights: float [N], of the frames in the mean; None: all 1.
        smooth: of the Dice part, in pixels of the given size.
    """
    by_frame = None if weights is None else weights[:, None, None]
    pixels = functional.binary_cross_entropy_with_logits(logits, targets, by_frame)
    return pixels + smoothed_dice_loss(logits, targets, smooth, weights)


def coarse_outline_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """:func:`outline_loss` on a coarse grid: targets [N, H, W] are averaged over the logits' larger pixels."""
    side = logits.shape[-1]
    share = functional.adaptive_avg_pool2d(targets[:, None], side)[:, 0]
    dice = smoothed_dice_loss(logits, share, SMOOTH_PIXELS * (side / GRID) ** 2)
    return functional.binary_cross_entropy_with_logits(logits, share) + dice
