"""Training the compact model from single images and phantom frames: one ordinary recipe.

AdamW with one cycle of the learning rate, augmentation drawn anew for each frame, averaged weights. Used for the
models that ship (``benchmarks/train_shipped.py``); corrections are learnt by ``fetaliqa.learning``.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from fetaliqa.errors import TrainingError
from fetaliqa.models.compact import CompactOutputs, CompactSeg
from fetaliqa.models.preprocess import normalise
from fetaliqa.training.frame_heads import DICE_WEIGHT, PLANE_WEIGHT, frame_dice, frame_head_loss
from fetaliqa.training.losses import outline_loss

HELD_BATCHES = 6  # drawn ahead, while the model trains
MIN_MEAN_WEIGHT = 0.1  # of a batch's frames, where nearly all are without an outline
WARMUP_AVERAGE = 10  # steps after which averaged weights begin to change slowly


class Drawn(Protocol):
    """Samples to draw from."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random sample: uint8 [224, 224] and its mask of 0 and 1, or probabilities (float32)."""


@dataclass(frozen=True)
class Share:
    """A kind of samples, and how many of them each batch has."""

    samples: Drawn
    count: int


@dataclass(frozen=True)
class CompactRecipe:
    """How the compact model is trained.

    Attributes:
        steps: optimiser steps.
        learning_rate: at the peak of the cycle.
        weight_decay: of matrices.
        warmup: share of the steps with a growing learning rate.
        average: of the averaged weights, which are kept.
        clip_norm: largest norm of the gradient.
        plane_weight, dice_weight: of the losses of the frame head, beside the outline's.
        empty_weight: of frames without an outline in the outline's loss; the frame head tells them apart, and an
            outline that is held down by many of them is missed where it is needed.
        seed: of samples and of new layers.
    """

    steps: int
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    average: float = 0.997
    clip_norm: float = 1.0
    plane_weight: float = PLANE_WEIGHT
    dice_weight: float = DICE_WEIGHT
    empty_weight: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """What is told of a training step: number, of how many, loss, mean Dice of the outlined samples."""

    number: int
    steps: int
    loss: float
    dice: float


def compact_loss(outputs: CompactOutputs, outlines: torch.Tensor, recipe: CompactRecipe) -> torch.Tensor:
    """Outline, plane and expected Dice together; outlines float [N, S, S], 0 to 1, all 0 on a frame without."""
    present = (outlines.amax(dim=(1, 2)) > 0).float()
    weights = present + (1 - present) * recipe.empty_weight
    weights = weights / weights.mean().clamp(min=MIN_MEAN_WEIGHT)
    heads = frame_head_loss(outputs, outlines, None, recipe.plane_weight, recipe.dice_weight)
    return outline_loss(outputs.outline[:, 0].float(), outlines, weights) + heads


def train_compact(
    model: CompactSeg,
    shares: Sequence[Share],
    recipe: CompactRecipe,
    report: Callable[[Step], None] = lambda _: None,
) -> None:
    """Train in place; the model ends in eval mode with averaged weights.

    Raises:
        TrainingError: when the loss is not a finite number.
    """
    matrices = [one for one in model.parameters() if one.ndim > 1]
    vectors = [one for one in model.parameters() if one.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=recipe.warmup
    )
    averaged = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(recipe.seed)
    model.train()
    for number, (images, outlines) in enumerate(_batches(shares, recipe)):
        outputs = model.outputs(normalise(images))
        loss = compact_loss(outputs, outlines, recipe)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss became {float(loss)} at step {number}; lower learning_rate")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        schedule.step()
        _average(averaged, model, min(recipe.average, (1 + number) / (WARMUP_AVERAGE + number)))
        outlined = outlines.amax(dim=(1, 2)) > 0
        dice = frame_dice(outputs.outline[:, 0].detach() > 0, outlines)[outlined].mean()
        report(Step(number + 1, recipe.steps, float(loss.detach()), float(dice)))
    model.load_state_dict(averaged)
    model.eval()


@torch.no_grad()
def _average(averaged: dict[str, torch.Tensor], model: CompactSeg, decay: float) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.dtype.is_floating_point:
            averaged[name].lerp_(tensor, 1 - decay)
        else:
            averaged[name].copy_(tensor)


def _batches(shares: Sequence[Share], recipe: CompactRecipe) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches uint8 [N, S, S] and outlines float [N, S, S], drawn by a thread while the model trains."""
    held: queue.Queue[tuple[np.ndarray, np.ndarray] | BaseException] = queue.Queue(HELD_BATCHES)

    def draw() -> None:
        try:
            random = np.random.default_rng(recipe.seed)
            orders: list[list[int]] = [[] for _ in shares]
            for _ in range(recipe.steps):
                chosen = []
                for share, order in zip(shares, orders):
                    for _ in range(share.count):
                        if not order:
                            order.extend(random.permutation(len(share.samples)).tolist())
                        chosen.append(share.samples.sample(order.pop(), random))
                images, masks = zip(*chosen)
                held.put((np.stack(images), np.stack(masks)))
        except BaseException as problem:  # noqa: BLE001  raised where the batches are used
            held.put(problem)

    threading.Thread(target=draw, daemon=True).start()
    for _ in range(recipe.steps):
        drawn = held.get()
        if isinstance(drawn, BaseException):
            raise drawn
        yield torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1]).float()
