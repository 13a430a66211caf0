"""Tells the progress of a fit, from inside of Lightning's trainer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch.callbacks import Callback

from fetaliqa.learning.progress import Progress

KEPT_LOSSES = 50  # the last ones


class TrainingProgress(Callback):
    """Tells the steps, losses and the time left of a fit."""

    def __init__(
        self,
        progress: Progress,
        report: Callable[[str, int, int], None] = lambda *_: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.progress, self._report, self._say = progress, report, say
        self._started, self._first = 0.0, 0

    def on_train_start(self, trainer: Any, *_: Any) -> None:
        self._started, self._first = time.monotonic(), trainer.global_step
        epochs = int(trainer.max_epochs)
        self.progress.say(stage="train", epoch=trainer.current_epoch, epochs=epochs, steps=self._steps(trainer))

    @staticmethod
    def _steps(trainer: Any) -> int:
        return int(trainer.num_training_batches) * int(trainer.max_epochs)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        step, steps = trainer.global_step, self._steps(trainer)
        loss = round(float(trainer.callback_metrics["train_loss"]), 5)
        spent = time.monotonic() - self._started
        left = spent / max(1, step - self._first) * (steps - step)
        losses = [*self.progress.values["losses"], loss][-KEPT_LOSSES:]
        self.progress.say(
            now=False,
            stage="train",
            epoch=trainer.current_epoch + 1,
            step=step,
            steps=steps,
            losses=losses,
            eta_seconds=round(left, 1),
        )
        self._report("train", step, steps)

    def on_validation_end(self, trainer: Any, *_: Any) -> None:
        if trainer.sanity_checking:
            return
        figures = {
            name: round(float(value), 5)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val_")
        }
        self.progress.say(validation=figures)
        told = self.progress.values
        loss = f"loss {told['losses'][-1]:.3f}, " if told["losses"] else ""
        shown = ", ".join(f"{name} {value:.3f}" for name, value in sorted(figures.items()))
        left = "" if told["eta_seconds"] is None else f", about {told['eta_seconds']:.0f} s left"
        self._say(f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {loss}{shown}{left}")
