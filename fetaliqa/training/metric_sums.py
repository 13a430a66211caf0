"""Validation figures from weighted sums over frames, which are added over distributed processes."""

from __future__ import annotations

import torch

from fetaliqa.model import Threshold
from fetaliqa.training.frame_head_loss import frame_dice

COUNT = 10  # sums, in the order of `sums_of`


def sums_of(
    logits: torch.Tensor, outlines: torch.Tensor, weights: torch.Tensor, loss: torch.Tensor
) -> torch.Tensor:
    """Sums of one batch, float64 [10], for :func:`figures_of`.

    Args:
        logits: float [n, S, S] (segmentation) or [n] (classification).
        outlines: float [n, S, S], 1 inside.
        weights: float [n], how many frames of its case each represents.
        loss: mean over the batch.
    """
    truth = outlines.amax(dim=(1, 2)) > 0
    probabilities = torch.sigmoid(logits.float())
    if logits.ndim == 3:
        mask = probabilities > 0.5
        predicted = mask.sum(dim=(1, 2)) >= Threshold().min_foreground_pixels(mask.shape[-1])
        overlap = ((mask * outlines).sum(dim=(1, 2)) * weights).sum()
        pixels = ((mask.sum(dim=(1, 2)) + outlines.sum(dim=(1, 2))) * weights).sum()
        dice = (frame_dice(mask, outlines) * predicted * truth * weights).sum()
    else:
        predicted = probabilities > 0.5
        overlap, pixels, dice = (loss.new_zeros(()) for _ in range(3))
    values = [
        loss * weights.sum(),
        weights.sum(),
        (weights * (predicted & truth)).sum(),
        (weights * (predicted & ~truth)).sum(),
        (weights * (~predicted & truth)).sum(),
        overlap,
        pixels,
        dice,
        (weights * truth).sum(),
        (weights * ~truth).sum(),
    ]
    return torch.stack([value.detach().double() for value in values])


def figures_of(sums: list[float], segmentation: bool) -> dict[str, float]:
    """The figures of all frames.

    ``val_score`` selects the epoch where frames with and without an outline both matter:
    ``Dice * (1 + specificity) / 2``, with the mean Dice of the outlined frames (one not found counts 0) and the
    share of the others called empty. A model that finds nothing has 0; one that outlines every frame,
    half of its Dice.
    """
    loss, count, hits, false, missed, overlap, pixels, dice, outlined, empty = sums
    figures = {"val_loss": loss / max(count, 1), "val_f1": 2 * hits / max(2 * hits + false + missed, 1)}
    if segmentation:
        specificity = 1 - false / empty if empty else 1.0
        figures["val_dice"] = 2 * overlap / max(pixels, 1)
        figures["val_score"] = (dice / outlined if outlined else 0.0) * (1 + specificity) / 2
    return figures
