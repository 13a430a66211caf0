"""Fitting a segmentation model: AdamW, warm-up and cosine, exponential moving average of the weights."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fetaliqa.models import normalise
from fetaliqa.training.augment import augment
from fetaliqa.training.frames import BalancedBatches, FrameSet
from fetaliqa.training.losses import outline_loss


@dataclass(frozen=True)
class FitSettings:
    """How to fit.

    Attributes:
        steps: optimiser steps.
        batch_size: frames per step.
        learning_rate: peak of the schedule.
        weight_decay: AdamW's, on matrices only.
        warmup_steps: linear warm-up.
        ema_decay: decay per step of the averaged weights, which are the result.
        seed: of batches and augmentation.
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup_steps: int = 50
    ema_decay: float = 0.99
    seed: int = 0


@dataclass(frozen=True)
class StepReport:
    """Where a fit stands: step, steps in all, running loss, seconds so far."""

    step: int
    steps: int
    loss: float
    seconds: float


def _optimizer(model: nn.Module, settings: FitSettings) -> torch.optim.Optimizer:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))


def _learning_rate(step: int, settings: FitSettings) -> float:
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    share = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def _batches(frames: FrameSet, settings: FitSettings) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    chosen = BalancedBatches(frames.grades, frames.near, settings.batch_size, settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    while True:
        yield augment(*frames.batch(next(chosen)), generator)


@torch.no_grad()
def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    for kept, new in zip(averaged.state_dict().values(), model.state_dict().values()):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def fit(
    model: nn.Module,
    frames: FrameSet,
    settings: FitSettings,
    report: Callable[[StepReport], None] | None = None,
    loss_function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = outline_loss,
) -> nn.Module:
    """Fit a segmentation model to frames; parameters that do not require gradients stay as they are.

    Args:
        model: images float [N, 3, 224, 224] -> logits [N, 1, G, G]; trained in place.
        frames: the training frames.
        settings: how.
        loss_function: of logits [N, G, G] and targets [N, 224, 224].
        report: called after every step.

    Returns:
        A copy of the model with averaged weights, in eval mode.
    """
    torch.manual_seed(settings.seed)
    device = next(model.parameters()).device
    averaged = copy.deepcopy(model).eval()
    optimizer = _optimizer(model, settings)
    started, running = time.monotonic(), float("nan")
    batches = _batches(frames, settings)
    model.train()
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(step, settings)
        images, targets = (part.to(device) for part in next(batches))
        loss = loss_function(model(normalise(images))[:, 0], targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        # a decay that grows with the steps lets early averages forget the random start
        _average(averaged, model, min(settings.ema_decay, (1 + step) / (10 + step)))
        value = float(loss.detach())
        if not np.isfinite(value):
            raise FloatingPointError(f"the loss became {value} at step {step}; lower the learning rate")
        running = value if step == 0 else 0.95 * running + 0.05 * value
        if report is not None:
            report(StepReport(step + 1, settings.steps, running, time.monotonic() - started))
    return averaged
