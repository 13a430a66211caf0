"""The outline loss: cross-entropy plus smoothed Dice per frame, for data in which most frames are empty."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

# Pixels added to both sides of the Dice ratio: the paper's frame rule (1 % of 224 x 224 = 502 px). On a
# frame without outline the loss then rises steeply where the predicted area nears the size that would
# make the frame positive, instead of giving no gradient as an unsmoothed Dice loss does.
SMOOTH_PIXELS = 502.0


def outline_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    smooth: float = SMOOTH_PIXELS,
) -> torch.Tensor:
    """Pixel cross-entropy plus smoothed Dice of each frame; gradient on every frame, with or without an outline.

    Without weights it is MONAI's ``DiceCELoss(sigmoid=True, smooth_nr=smooth, smooth_dr=smooth)``, which cannot
    weigh frames.

    Args:
        logits: float [N, H, W].
        targets: float [N, H, W], 0 or 1.
        weights: float [N], of the frames in the mean; None: all 1.
        smooth: of the Dice part, in pixels of the given size.
    """
    pixels = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    frames = pixels.mean(dim=(1, 2)) + dice_loss(logits, targets, dim=(1, 2), smooth=smooth)
    return frames.mean() if weights is None else (frames * weights).mean()


def dice_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    dim: tuple[int, ...],
    smooth: float = 0.0,
    smooth_denominator: float | None = None,
) -> torch.Tensor:
    """1 - soft Dice of sigmoid(logits) and targets.

    Equal to MONAI's ``DiceLoss(sigmoid=True)``, whose import takes several seconds of every training process.

    Args:
        logits: float [N, H, W].
        targets: float [N, H, W], 0 or 1.
        dim: dimensions that are summed over.
        smooth: added to the numerator.
        smooth_denominator: added to the denominator; None: ``smooth``.
    """
    probabilities = torch.sigmoid(logits)
    overlap = (probabilities * targets).sum(dim)
    area = probabilities.sum(dim) + targets.sum(dim)
    return 1 - (2 * overlap + smooth) / (area + (smooth if smooth_denominator is None else smooth_denominator))
