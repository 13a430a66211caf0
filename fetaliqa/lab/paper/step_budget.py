"""A Lightning callback for training a number of optimiser steps instead of epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch.callbacks import Callback


class Budget(Callback):
    """Stops training after a number of optimiser steps, also within an epoch, and reports progress.

    The learning rate's schedule is stretched over exactly those steps, and the model is validated at the end.
    """

    def __init__(self, steps: int, report: Callable[[int, int], None]) -> None:
        self._steps, self._report = steps, report

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        pl_module.steps = self._steps  # before the schedule is made

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self._report(trainer.global_step, self._steps)
        if trainer.global_step >= self._steps:
            trainer.should_stop = True
