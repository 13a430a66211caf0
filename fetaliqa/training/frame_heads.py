"""The loss of what the compact model says of a whole frame: whether it shows the plane, and its outline's Dice."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as functional

from fetaliqa.models.compact import CompactOutputs, CompactSeg
from fetaliqa.models.preprocess import model_inputs

PLANE_WEIGHT = 0.5  # of the plane's cross-entropy beside the outline's loss
DICE_WEIGHT = 0.2  # of the expected Dice's
FITTING_STEPS = 100


def frame_head_loss(
    outputs: CompactOutputs,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    plane_weight: float = PLANE_WEIGHT,
    dice_weight: float = DICE_WEIGHT,
) -> torch.Tensor:
    """Cross-entropy of plane and expected Dice, weighted as they are added to the outline's loss.

    The expected Dice is taught the Dice that the outline has now (as FUSQA does, arXiv 2303.04418), on frames with
    an outline; soft targets in a cross-entropy have their minimum where the two agree.

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
    """Dice float [n] of bool masks [n, S, S] and targets float [n, S, S]; 0 where the target is empty."""
    overlap = (masks * targets).sum(dim=(1, 2))
    total = masks.sum(dim=(1, 2)) + targets.sum(dim=(1, 2))
    return 2 * overlap / total.clamp(min=1)


def fit_expected_dice(model: CompactSeg, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Fit the two numbers of ``model.decoder.dice`` to the Dice that outlines have, at the end of a training.

    Args:
        model: in eval mode; nothing else of it changes.
        batches: frames uint8 [N, S, S] and outlines float [N, S, S], 0 or 1; frames without one do not count.
    """
    expected = model.decoder.dice
    promised, achieved = [], []
    with torch.no_grad():
        expected.scale.fill_(1.0)
        expected.offset.zero_()  # so that the logits are the promised ones
        for images, outlines in batches:
            outputs = model.outputs(model_inputs(model, images))
            outlined = outlines.amax(dim=(1, 2)) > 0
            promised.append(outputs.dice[outlined])
            achieved.append(frame_dice(outputs.outline[:, 0] > 0, outlines)[outlined])
    known, targets = torch.cat(promised), torch.cat(achieved)
    optimizer = torch.optim.LBFGS(expected.parameters(), max_iter=FITTING_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(expected.scale * known + expected.offset, targets)
        loss.backward()
        return loss

    optimizer.step(closure)
