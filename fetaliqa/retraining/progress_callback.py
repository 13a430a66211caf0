"""A Lightning callback that reports steps, losses and the remaining time of a training."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from fetaliqa.retraining.progress_file import Progress

KEPT_LOSSES = 50  # the last ones


class TrainingProgress(Callback):
    """Reports steps, losses and the remaining time."""

    def __init__(
        self,
        progress: Progress,
        report: Callable[[str, int, int], None] = lambda *_: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.progress, self._report, self._say = progress, report, say
        self._started, self._first = 0.0, 0
        self._unread: deque[torch.Tensor] = deque(maxlen=KEPT_LOSSES)

    def on_train_start(self, trainer: Any, *_: Any) -> None:
        self._started, self._first = time.monotonic(), trainer.global_step
        epochs = int(trainer.max_epochs)
        self.progress.say(stage="train", epoch=trainer.current_epoch, epochs=epochs, steps=self._steps(trainer))

    @staticmethod
    def _steps(trainer: Any) -> int:
        return int(trainer.num_training_batches) * int(trainer.max_epochs)

    def on_train_batch_end(self, trainer: Any, _: Any, outputs: Any, *__: Any) -> None:
        step, steps = trainer.global_step, self._steps(trainer)
        self._unread.append(outputs["loss"])
        spent = time.monotonic() - self._started
        left = spent / max(1, step - self._first) * (steps - step)
        if self.progress.due():
            self._read_losses()
        self.progress.say(
            now=False,
            stage="train",
            epoch=trainer.current_epoch + 1,
            step=step,
            steps=steps,
            eta_seconds=round(left, 1),
        )
        self._report("train", step, steps)

    def _read_losses(self) -> None:
        """Read the losses since the last call; synchronises with the GPU once, not at each step."""
        if self._unread:
            read = [round(loss, 5) for loss in torch.stack(list(self._unread)).tolist()]
            self.progress.values["losses"] = [*self.progress.values["losses"], *read][-KEPT_LOSSES:]
            self._unread.clear()

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        if trainer.sanity_checking:
            return
        self._read_losses()
        figures = {name: round(value, 5) for name, value in module.figures.items()}
        self.progress.say(validation=figures)
        values = self.progress.values
        loss = f"loss {values['losses'][-1]:.3f}, " if values["losses"] else ""
        shown = ", ".join(f"{name} {value:.3f}" for name, value in sorted(figures.items()))
        left = "" if values["eta_seconds"] is None else f", about {values['eta_seconds']:.0f} s left"
        self._say(f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {loss}{shown}{left}")
