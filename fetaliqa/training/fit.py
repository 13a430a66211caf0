"""Fitting a model: AdamW or Muon, warm-up and cosine, exponential moving average of the weights."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from fetaliqa.models import normalise
from fetaliqa.training.augment import STILL, Augmentation, augment
from fetaliqa.training.frames import BalancedBatches, Batch, FrameSet
from fetaliqa.training.losses import outline_loss
from fetaliqa.training.muon import Muon


@dataclass(frozen=True)
class FitSettings:
    """How to fit.

    Attributes:
        steps: optimiser steps.
        batch_size: frames per step.
        learning_rate: AdamW's, at the peak of the schedule.
        muon_learning_rate: Muon's, for the matrices of transformer blocks; None gives them to AdamW too.
        weight_decay: on matrices only.
        warmup_steps: linear warm-up.
        ema_decay: decay per step of the averaged weights, which are the result.
        augmentation: how frames are changed.
        seed: of batches and augmentation.
        positive_share: share of a batch with an outline.
        hard_share: share of a batch that is hard negatives.
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    muon_learning_rate: float | None = None
    weight_decay: float = 0.02
    warmup_steps: int = 50
    ema_decay: float = 0.99
    augmentation: Augmentation = STILL
    seed: int = 0
    positive_share: float = 0.375
    hard_share: float = 0.4375


@dataclass(frozen=True)
class StepReport:
    """Where a fit stands: step, steps in all, running loss, seconds so far."""

    step: int
    steps: int
    loss: float
    seconds: float


def _optimizers(model: nn.Module, settings: FitSettings) -> list[torch.optim.Optimizer]:
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizers: list[torch.optim.Optimizer] = []
    if settings.muon_learning_rate is not None:
        blocks = [name for name, parameter in named.items() if ".resblocks." in name and parameter.ndim == 2]
        matrices = [named.pop(name) for name in blocks]
        optimizers.append(Muon(matrices, lr=settings.muon_learning_rate, weight_decay=settings.weight_decay))
    groups = [
        {"params": [p for p in named.values() if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in named.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizers.append(torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98)))
    return optimizers


def _schedule(step: int, settings: FitSettings) -> float:
    """Share of the peak learning rate at a step."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    share = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))


def _batches(frames: FrameSet, settings: FitSettings) -> Iterator[Batch]:
    chosen = BalancedBatches(
        frames,
        settings.batch_size,
        settings.seed,
        positive_share=settings.positive_share,
        hard_share=settings.hard_share,
    )
    generator = torch.Generator().manual_seed(settings.seed)
    weights = torch.from_numpy(chosen.weights).float()
    while True:
        batch = augment(frames.batch(next(chosen)), generator, settings.augmentation)
        yield replace(batch, weights=weights)


Objective = Callable[[nn.Module, Batch, float], torch.Tensor]  # loss of a model on a batch; progress 0 to 1


def sweep_objective(model: nn.Module, batch: Batch, _: float) -> torch.Tensor:
    """:func:`outline_loss` of a segmentation model, images float [N, 3, S, S] -> logits [N, 1, S, S].

    Each frame weighs as much as such frames do in sweeps.

    A model trained on batches with many positives takes doubtful frames for positives; this one takes
    them for what they more often are.
    """
    return outline_loss(model(normalise(batch.images))[:, 0], batch.outlines, batch.weights)


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
    objective: Objective,
    report: Callable[[StepReport], None] | None = None,
) -> nn.Module:
    """Fit a model to frames; parameters that do not require gradients stay as they are.

    Args:
        model: trained in place.
        frames: the training frames.
        settings: how.
        objective: the loss of the model on a batch, and how far training is (0 to 1).
        report: called after every step.

    Returns:
        A copy of the model with averaged weights, in eval mode.
    """
    torch.manual_seed(settings.seed)
    device = next(model.parameters()).device
    averaged = copy.deepcopy(model).eval()
    optimizers = _optimizers(model, settings)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    peaks = [group["lr"] for group in groups]
    started, running = time.monotonic(), float("nan")
    batches = _batches(frames, settings)
    model.train()
    for step in range(settings.steps):
        for group, peak in zip(groups, peaks):
            group["lr"] = peak * _schedule(step, settings)
        loss = objective(model, next(batches).to(device), step / settings.steps)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        for optimizer in optimizers:
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
