"""The exponential moving average of a model's weights while it trains."""

from __future__ import annotations

from itertools import chain
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn


class Averaging(WeightAveraging):
    """Exponential moving average of weights and statistics; a decay that grows forgets the random start.

    Lightning's callback does the rest (checkpoints, validation with the averaged weights). Its own update waits
    for the device at each parameter, and averages those that do not train, too; here the average has the very same
    ones, in no memory of its own.

    Args:
        decay: per step, in the long run.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=True)
        self._decay = decay

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()  # read at each step
            _share_frozen(self._average_model.module, pl_module)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        if self._average_model is not None:
            self._average_model.module.to(pl_module.device)  # setup runs before the model is moved there

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step > self._latest_update_step and self._average_model is not None:
            count = int(self._average_model.n_averaged)
            share = 1 - decay_at(count, self._decay) if count else 1.0
            move_towards(self._average_model.module, pl_module, share)
            self._average_model.n_averaged += 1
            self._latest_update_step = trainer.global_step


def _share_frozen(average: nn.Module, new: nn.Module) -> None:
    """Put the parameters of ``new`` that do not train into ``kept``, its copy."""
    for mine, own in zip(average.modules(), new.modules()):
        for name, parameter in own.named_parameters(recurse=False):
            if not parameter.requires_grad:
                setattr(mine, name, parameter)


def decay_at(step: int, decay: float) -> float:
    """The decay of an average at a step, counted from 0: it grows to ``decay``, so that the start is forgotten."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def move_towards(average: nn.Module, new: nn.Module, share: float) -> None:
    """Move the floating-point values of a model by a share (0 to 1) of the way to those of its likeness.

    Counters are copied. Parameters that need no gradient are the same in both, and stay.
    """
    pairs = [
        (old, now.detach().to(old.device))
        for old, now in zip(chain(average.parameters(), average.buffers()), chain(new.parameters(), new.buffers()))
        if now.requires_grad or not isinstance(now, nn.Parameter)
    ]
    moved = [(old, now) for old, now in pairs if old.is_floating_point()]
    if moved:
        torch._foreach_lerp_([old for old, _ in moved], [now for _, now in moved], share)
    for old, now in pairs:
        if not old.is_floating_point():
            old.copy_(now)
