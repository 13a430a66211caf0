"""The loss of the compact model's frame head: plane visibility and expected Dice of the outline."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from fetaliqa.model.compact_model import CompactOutputs

PLANE_WEIGHT = 0.5  # of the plane's cross-entropy beside the outline's loss
DICE_WEIGHT = 0.2  # of the expected Dice's


def frame_head_loss(
    outputs: CompactOutputs,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    plane_weight: float = PLANE_WEIGHT,
    dice_weight: float = DICE_WEIGHT,
) -> torch.Tensor:
    """Weighted cross-entropy of plane and expected Dice.

    The target of the expected Dice is the current Dice of the outline (as in FUSQA, arXiv 2303.04418), on frames
    with an outline; a cross-entropy with soft targets is least where the two agree.

    Args:
        outputs: of n frames.
        targets: float [n, S, S], 1 inside the outline; or its probability, all 0 on frames without one.
        weights: float [n], of the frames in the mean; None: all 1.
        plane_weight, dice_weight: of the two.
    """
    showing = (targets.amax(dim=(1, 2)) > 0).float()
    achieved = frame_dice(torch.sigmoid(outputs.outline[:, 0].detach().float()) > 0.5, (targets > 0.5).float())
    loss = functional.binary_cross_entropy_with_logits
    plane = loss(outputs.plane.float(), showing, weights)
    outlined = showing if weights is None else showing * weights
    return plane_weight * plane + dice_weight * loss(outputs.dice.float(), achieved, outlined)


def frame_dice(masks: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Dice float [n] of bool masks [n, S, S] and targets float [n, S, S]; 0 where the target is empty.

    Not MONAI's ``compute_dice``: that loops over frames and synchronises with the device for each, and gives 1 or
    NaN for two empty masks.
    """
    overlap = (masks * targets).sum(dim=(1, 2))
    total = masks.sum(dim=(1, 2)) + targets.sum(dim=(1, 2))
    return 2 * overlap / total.clamp(min=1)
