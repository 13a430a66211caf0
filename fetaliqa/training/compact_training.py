"""Training of the compact model from single images and phantom frames, with a standard recipe.

AdamW with one cycle of the learning rate, online augmentation, averaged weights. Used for the
models that ship (``benchmarks/train_shipped.py``); corrections are learnt by ``fetaliqa.retraining``.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from fetaliqa.model.compact_model import CompactOutputs, CompactSeg
from fetaliqa.model.preprocess import normalise
from fetaliqa.training.frame_head_loss import DICE_WEIGHT, PLANE_WEIGHT, frame_head_loss
from fetaliqa.training.losses import outline_loss
from fetaliqa.training.plain_loop import Cycle, Step, train_cycle

HELD_BATCHES = 6  # drawn ahead, while the model trains
MIN_MEAN_WEIGHT = 0.1  # of a batch's frames, where nearly all are without an outline


class SampleSource(Protocol):
    """A source of random samples."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random sample: uint8 [224, 224] and its mask of 0 and 1, or probabilities (float32)."""


@dataclass(frozen=True)
class Share:
    """A kind of samples, and how many of them each batch has."""

    samples: SampleSource
    count: int


@dataclass(frozen=True)
class CompactRecipe(Cycle):
    """How the compact model is trained.

    Attributes:
        plane_weight, dice_weight: of the losses of the frame head, beside the outline's.
        empty_weight: of frames without an outline in the outline's loss; low, since the frame head separates them
            and many empty frames would suppress outlines.
        dropout: of the decoder's channels; None: as the model has it.
    """

    plane_weight: float = PLANE_WEIGHT
    dice_weight: float = DICE_WEIGHT
    empty_weight: float = 1.0
    dropout: float | None = None


def compact_loss(
    outputs: CompactOutputs,
    outlines: torch.Tensor,
    recipe: CompactRecipe,
) -> torch.Tensor:
    """Outline, plane and expected Dice together.

    Args:
        outputs: of N frames.
        outlines: float [N, S, S], 0 to 1; all 0 on a frame without one.
        recipe: weights of the parts.
    """
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

    def answer(images: torch.Tensor, outlines: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = model.outputs(normalise(images))
        return compact_loss(outputs, outlines, recipe), outputs.outline[:, 0]

    if recipe.dropout is not None:
        model.decoder.pyramid.dropout.p = recipe.dropout
    train_cycle(model, _batches(shares, recipe), answer, recipe, report)


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
