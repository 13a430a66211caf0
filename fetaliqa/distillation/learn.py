"""Teaching the student: it learns to guess the quality that the teacher gives a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional

from fetaliqa.distillation.answers import Answers
from fetaliqa.errors import TrainingError
from fetaliqa.quality.score import NEGATIVE_CEILING
from fetaliqa.student.network import GRID, StudentNet, as_images

POSITIVE_WEIGHT = 4.0  # frames that show the anatomy, to the teacher, are drawn so much more often: they are few


@dataclass(frozen=True)
class LearnSettings:
    """How a student learns.

    Attributes:
        passes: how many frames it sees, as a multiple of those there are.
        batch_size: frames per optimiser step.
        learning_rate: AdamW's, at the peak of its one-cycle schedule.
        weight_decay: AdamW's.
        shift: pixels that frames are moved by, at most.
        gain: share that frames are made brighter or darker by, at most.
        seed: of the weights to begin with, the batches and the changes.
    """

    passes: int = 15
    batch_size: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    shift: int = 4
    gain: float = 0.15
    seed: int = 0


def learn(answers: Sequence[Answers], settings: LearnSettings, progress: Callable[[int, int], None]) -> StudentNet:
    """Train a student on a teacher's answers.

    Args:
        answers: on the training cases.
        settings: how.
        progress: called with (steps done, steps in all).

    Raises:
        TrainingError: when training diverges, or the teacher sees the anatomy nowhere.
    """
    squares = torch.from_numpy(np.concatenate([small(one.squares) for one in answers]))
    quality = torch.from_numpy(np.concatenate([one.quality for one in answers]))
    if not bool((quality > NEGATIVE_CEILING).any()):
        raise TrainingError(
            f"the teacher sees the anatomy on none of {len(quality)} training frames, so there is nothing to learn"
        )
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    net = StudentNet().to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    steps = max(1, settings.passes * len(squares) // settings.batch_size)
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=steps + 1)
    weights = torch.where(quality > NEGATIVE_CEILING, POSITIVE_WEIGHT, 1.0)
    for step in range(steps):
        chosen = torch.multinomial(weights, settings.batch_size, replacement=True, generator=generator)
        images = _changed(as_images(squares[chosen]), settings, generator)
        loss = functional.binary_cross_entropy_with_logits(net(images), quality[chosen])
        if not bool(torch.isfinite(loss)):
            raise TrainingError(f"the student's training diverged at step {step + 1} of {steps}")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        progress(step + 1, steps)
    return net.eval()


def small(squares: np.ndarray) -> np.ndarray:
    """uint8 [N, 224, 224] as a student sees them, uint8 [N, 112, 112]."""
    blocks = squares.reshape(len(squares), GRID, 2, GRID, 2)
    return blocks.mean(axis=(2, 4), dtype=np.float32).round().astype(np.uint8)


def _changed(images: torch.Tensor, settings: LearnSettings, generator: torch.Generator) -> torch.Tensor:
    """The images of a batch moved, mirrored or not (all alike), and each brighter or darker."""
    moves = torch.randint(-settings.shift, settings.shift + 1, (2,), generator=generator).tolist()
    images = torch.roll(images, moves, dims=(2, 3))  # the border of a frame is black
    if bool(torch.rand((), generator=generator) < 0.5):
        images = images.flip(3)
    gain = 1 + settings.gain * (2 * torch.rand((len(images), 1, 1, 1), generator=generator) - 1)
    return (images * gain).clamp(0, 1).contiguous(memory_format=torch.channels_last)
