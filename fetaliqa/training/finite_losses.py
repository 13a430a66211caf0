"""Check that losses are finite, for several steps at once, since each check synchronises with the device."""

from __future__ import annotations

import math

import torch

from fetaliqa.errors import TrainingError
from fetaliqa.training.recipes import Recipe


class NotFinite(TrainingError):
    """A loss that is no finite number."""


class FiniteLosses:
    """Losses of the last steps.

    Args:
        recipe: whose settings the error names.
        every: steps between checks; call :meth:`check` before weights are saved.
    """

    def __init__(self, recipe: Recipe, every: int) -> None:
        self._recipe, self._every = recipe, every
        self._unseen: list[tuple[int, torch.Tensor]] = []

    def add(self, step: int, loss: torch.Tensor) -> None:
        """Note a step's loss, a scalar.

        Raises:
            NotFinite: as :meth:`check`, when a check is due.
        """
        self._unseen.append((step, loss.detach()))
        if len(self._unseen) >= self._every:
            self.check()

    def check(self) -> None:
        """Check the losses since the last check.

        Raises:
            NotFinite: naming the first step whose loss is not finite.
        """
        if not self._unseen:
            return
        steps, losses = zip(*self._unseen)
        self._unseen = []
        for step, loss in zip(steps, torch.stack(losses).tolist()):
            if not math.isfinite(loss):
                raise NotFinite(
                    f"the loss became {loss} at step {step}; lower learning_rate "
                    f"(now {self._recipe.learning_rate}) or set clip_norm"
                )
