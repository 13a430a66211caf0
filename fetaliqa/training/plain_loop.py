"""A plain training loop without validation: AdamW, one-cycle learning rate, averaged weights.

For the compact and stand-in models, which need no checkpoints, validation or distribution; training runs and
retraining use Lightning (``fetaliqa.training.trainer``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from fetaliqa.errors import TrainingError
from fetaliqa.model import Threshold
from fetaliqa.model.preprocess import normalise
from fetaliqa.training.augmentation import augment
from fetaliqa.training.batch_sampling import Order
from fetaliqa.training.frame_head_loss import frame_dice
from fetaliqa.training.losses import outline_loss
from fetaliqa.training.moving_average import decay_at, move_towards
from fetaliqa.training.training_frames import FrameSet

LEAST_CYCLE, LEAST_WARMUP = 3, 2  # steps; OneCycleLR divides by zero for a cycle without a rising or falling part


@dataclass(frozen=True)
class Cycle:
    """Settings of the loop.

    Attributes:
        steps: optimiser steps.
        learning_rate: at the peak of the cycle.
        weight_decay: of matrices.
        warmup: share of the steps with a growing learning rate.
        average: decay per step of the averaged weights, which are the result.
        clip_norm: largest norm of the gradient.
        seed: for samples, new layers and dropout.
    """

    steps: int
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    average: float = 0.997
    clip_norm: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """Report of a training step: number, total, loss, mean Dice of the outlined samples."""

    number: int
    steps: int
    loss: float
    dice: float


Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]  # images uint8 [N, S, S], outlines float [N, S, S]
Answer = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def train_cycle(
    model: nn.Module,
    batches: Batches,
    answer: Answer,
    cycle: Cycle,
    report: Callable[[Step], None] = lambda _: None,
) -> None:
    """Train in place what requires gradients; the model ends in eval mode with averaged weights.

    Args:
        model: to train.
        batches: as many as there are steps.
        answer: the loss of images and outlines, and the logits [N, S, S] of the outlines.
        cycle: settings.
        report: called after every step.

    Raises:
        TrainingError: when the loss is not a finite number.
    """
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [one for one in trained if one.ndim > 1], "weight_decay": cycle.weight_decay},
            {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=cycle.learning_rate,
    )
    total = max(LEAST_CYCLE, cycle.steps)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, cycle.learning_rate, total_steps=total, pct_start=max(cycle.warmup, LEAST_WARMUP / total)
    )
    device = next(model.parameters()).device
    averaged = copy.deepcopy(model)
    torch.manual_seed(cycle.seed)
    model.train()
    for number, (images, outlines) in enumerate(batches):
        outlines = outlines.to(device)
        loss, logits = answer(images.to(device), outlines)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss became {float(loss)} at step {number}; lower learning_rate")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, cycle.clip_norm)
        optimizer.step()
        schedule.step()
        move_towards(averaged, model, 1 - decay_at(number, cycle.average))
        outlined = outlines.amax(dim=(1, 2)) > 0
        dice = frame_dice(logits.detach() > 0, outlines)[outlined].mean()
        report(Step(number + 1, cycle.steps, float(loss.detach()), float(dice)))
    model.load_state_dict(averaged.state_dict())
    model.eval()


def train_outlines(
    model: nn.Module,
    frames: FrameSet,
    order: Order,
    cycle: Cycle,
    report: Callable[[Step], None] = lambda _: None,
) -> None:
    """Train a segmentation model in place on frames, whose grey levels and sides are changed at random.

    Raises:
        TrainingError: when the loss is not a finite number.
    """
    smooth = float(Threshold().min_foreground_pixels(frames.size))

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        random = torch.Generator().manual_seed(cycle.seed)
        for step in range(cycle.steps):
            batch = augment(frames.batch(order.batch(step)), random)
            yield batch.images, batch.outlines

    def answer(images: torch.Tensor, outlines: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = model(normalise(images))[:, 0]
        return outline_loss(logits, outlines, smooth=smooth), logits

    train_cycle(model, batches(), answer, cycle, report)
