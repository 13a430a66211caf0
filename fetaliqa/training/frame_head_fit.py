"""Fitting of the frame head and the expected Dice on a trained compact model with a frozen outline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from fetaliqa.model.compact_model import CompactSeg
from fetaliqa.model.preprocess import model_inputs
from fetaliqa.training.frame_head_loss import frame_dice

FITTING_STEPS = 100
BATCH = 64  # samples


@dataclass(frozen=True)
class FrameHeadFit:
    """Settings of the training of the frame head.

    Attributes:
        epochs: times that each sample is seen.
        learning_rate: at the peak of one cycle.
        weight_decay: of AdamW.
        seed: of the order and of dropout.
    """

    epochs: int = 25
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    seed: int = 0


def fit_frame_head(
    model: CompactSeg,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor, float]],
    recipe: FrameHeadFit = FrameHeadFit(),
) -> None:
    """Train the frame head (whether a frame shows the plane); encoder and outline are frozen.

    This separates one kind of samples better without a loss on the outlines of another.

    Args:
        model: changed in place; it ends in eval mode.
        batches: frames uint8 [N, S, S], outlines [N, S, S] (0 or 1), and the weight of each of these frames.
        recipe: settings.
    """
    head, inputs_of_head = model.decoder.frame, []
    shown, weights = [], []
    model.eval()
    hook = head.register_forward_pre_hook(lambda _, inputs: inputs_of_head.append(inputs[0].detach()))
    try:
        with torch.no_grad():
            for images, outlines, weight in batches:
                model.outputs(model_inputs(model, images))
                shown.append((outlines.amax(dim=(1, 2)) > 0).float())
                weights.append(torch.full((len(images),), weight))
    finally:
        hook.remove()
    samples, targets, importance = torch.cat(inputs_of_head), torch.cat(shown), torch.cat(weights)
    torch.manual_seed(recipe.seed)
    whole = len(samples) // BATCH * BATCH or len(samples)
    rounds = recipe.epochs * max(1, whole // BATCH)
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=rounds)
    head.train()
    for _ in range(recipe.epochs):
        for chosen in torch.randperm(len(samples))[:whole].split(BATCH):
            logits = head(samples[chosen])[:, 0]
            loss = functional.binary_cross_entropy_with_logits(logits, targets[chosen], importance[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def fit_expected_dice(model: CompactSeg, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Fit the two numbers of ``model.decoder.dice`` to the Dice that outlines have, at the end of a training.

    Args:
        model: in eval mode; only these two numbers change.
        batches: frames uint8 [N, S, S] and outlines float [N, S, S], 0 or 1; frames without one do not count.
    """
    expected = model.decoder.dice
    promised, achieved = [], []
    with torch.no_grad():
        expected.scale.fill_(1.0)
        expected.offset.zero_()  # so that the logits are the uncorrected ones
        for images, outlines in batches:
            outputs = model.outputs(model_inputs(model, images))
            outlined = outlines.amax(dim=(1, 2)) > 0
            promised.append(outputs.dice[outlined])
            achieved.append(frame_dice(outputs.outline[:, 0] > 0, outlines)[outlined])
    logits, targets = torch.cat(promised), torch.cat(achieved)
    optimizer = torch.optim.LBFGS(expected.parameters(), max_iter=FITTING_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(expected.scale * logits + expected.offset, targets)
        loss.backward()
        return loss

    optimizer.step(closure)
