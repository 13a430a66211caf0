"""Exponential moving average of a model's weights during training by Lightning."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn

from fetaliqa.training.moving_average import decay_at, move_towards


class Averaging(WeightAveraging):
    """Exponential moving average of weights and statistics, with a decay that grows from 0.1.

    Lightning's callback does the rest (checkpoints, validation with the averaged weights). Its update, which is
    torch's ``AveragedModel``, synchronises with the device for each parameter and averages frozen parameters too;
    here these are shared with the model and take no memory.

    Args:
        decay: per step, after the warm-up.
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
    """Share the frozen parameters of ``new`` with ``average``, its copy."""
    for mine, own in zip(average.modules(), new.modules()):
        for name, parameter in own.named_parameters(recurse=False):
            if not parameter.requires_grad:
                setattr(mine, name, parameter)
