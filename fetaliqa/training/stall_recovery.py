"""Detection of training that does not learn, and one restart with safer settings.

A model that finds none of the outlines of its own training frames has not learnt, whatever its loss is. This is
checked after a fifth of the steps (no outline found *and* a loss that does not decrease), after half of them, and
at the end.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from torch import nn

from fetaliqa.atomic import write_json
from fetaliqa.errors import TrainingError
from fetaliqa.model import Threshold
from fetaliqa.model.preprocess import model_inputs
from fetaliqa.training.finite_losses import NotFinite
from fetaliqa.training.frame_head_loss import frame_dice
from fetaliqa.training.recipes import Recipe, recipe_from_json
from fetaliqa.training.training_frames import FrameSet

EARLY_SHARE, HALF_SHARE = 0.2, 0.5  # of the steps
LOOKED_AT = 24  # most outlined training frames checked: half a second with the compact model
CHUNK = 8  # frames
SLOWER = 0.3  # factor of the learning rate, where the loss did not decrease
RETRY_FILE = "retry.json"

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class OutlineCheck:
    """Result of a check during training.

    Attributes:
        step, steps: current and total number of steps.
        found, of: outlined training frames of which the model finds the outline, and how many were checked.
        first, last: mean loss at the beginning and now; None where they are not known.
    """

    step: int
    steps: int
    found: int
    of: int
    first: float | None = None
    last: float | None = None

    @property
    def falling(self) -> bool:
        """Whether the loss decreases; True when not known."""
        return self.first is None or self.last is None or self.last < self.first

    def __str__(self) -> str:
        loss = "" if self.first is None or self.last is None else f"; the loss went from {self.first:.3f} to "
        loss += "" if not loss else f"{self.last:.3f}"
        return (
            f"after {self.step} of {self.steps} steps the model finds {self.found} of the {self.of} outlines that "
            f"it is trained on{loss}"
        )


class NotLearning(TrainingError):
    """Training that finds none of its own outlines."""

    def __init__(self, seen: OutlineCheck) -> None:
        super().__init__(str(seen))
        self.seen = seen


@torch.no_grad()
def outlines_found(model: nn.Module, frames: FrameSet) -> tuple[int, int]:
    """Number of frames whose outline the model finds (positive by the frame rule, with overlap), and of how many.

    Args:
        model: a segmentation model; its mode is restored.
        frames: up to 24 outlined ones are checked, evenly spread.
    """
    outlined = np.flatnonzero(frames.grades > 0)
    chosen = outlined[np.linspace(0, len(outlined) - 1, min(len(outlined), LOOKED_AT)).round().astype(int)]
    device, training = next(model.parameters()).device, model.training
    model.eval()
    hits = 0
    for start in range(0, len(chosen), CHUNK):
        part = chosen[start : start + CHUNK]
        images = torch.from_numpy(np.array(frames.images[part])).to(device)
        masks = torch.sigmoid(model(model_inputs(model, images))[:, 0].float()) > 0.5
        shown = masks.sum(dim=(1, 2)) >= Threshold().min_foreground_pixels(frames.size)
        overlap = frame_dice(masks, torch.from_numpy(frames.outlines(part)).float().to(device))
        hits += int((shown & (overlap > 0)).sum())
    model.train(training)
    return hits, len(chosen)


class LearningCheck(pl.Callback):
    """Stops a training that does not learn.

    Args:
        frames: the training frames.
        steps: in all.
    """

    def __init__(self, frames: FrameSet, steps: int) -> None:
        self._frames, self._steps = frames, steps
        self._losses: list[torch.Tensor] = []
        self._early = max(2, round(EARLY_SHARE * steps))
        self._half = max(3, round(HALF_SHARE * steps))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        step = trainer.global_step
        if step <= self._early:
            self._losses.append(outputs["loss"])
        if step not in (self._early, self._half):
            return
        module: Any = pl_module
        seen = self._seen(step, module)
        module.train()  # sets frozen parts to eval mode again
        if not seen.found and (step == self._half or not seen.falling):
            raise NotLearning(seen)

    def _seen(self, step: int, module: Any) -> OutlineCheck:
        part = max(1, len(self._losses) // 4)
        losses = torch.stack(self._losses).tolist() if len(self._losses) >= 2 else None
        first, last = (None, None) if losses is None else (losses[:part], losses[-part:])
        return OutlineCheck(
            step, self._steps, *outlines_found(module.model, self._frames), _mean(first), _mean(last)
        )


def _mean(values: list[float] | None) -> float | None:
    return None if values is None else float(np.mean(values))


def safer(recipe: Recipe, frames: FrameSet, seen: OutlineCheck | None) -> Recipe:
    """The recipe of the second attempt.

    Half of each batch are outlined frames, without sweep weights; the outline's bias is set to the share of
    outlined pixels in such batches; batch norms are frozen; gradients are clipped; and where the loss did not
    decrease (``seen`` None: not finite) the learning rate is lower.
    """
    rate = 1.0 if seen is not None and seen.falling else SLOWER
    outlined = np.flatnonzero(frames.grades > 0)
    share = max(recipe.positive_share, 0.5)
    area = float(frames.outlines(outlined).mean())
    return replace(
        recipe,
        name=f"{recipe.name}-safer",
        learning_rate=recipe.learning_rate * rate,
        positive_share=share,
        hard_share=min(recipe.hard_share, 1 - share),
        sweep_weights=False,
        outline_prior=min(max(share * area, 0.01), 0.5),
        # norms of an encoder are frozen; those of a decoder may be the part that does not fit the new frames
        norm_frames=max(recipe.norm_frames, len(frames) + 1) if recipe.encoder == "full" else 0,
        clip_norm=1.0,
        checked=False,  # there is no third attempt, so this one runs to its end
    )


def fit_checked(
    fit: Callable[[Recipe], tuple[Model, dict[str, Any]]],
    recipe: Recipe,
    frames: FrameSet,
    folder: Path,
    *,
    again: bool,
    say: Callable[[str], None],
) -> tuple[Model, Recipe, dict[str, Any]]:
    """Train, and restart once by :func:`safer` when nothing is learnt; a killed run resumes its attempt.

    Args:
        fit: trains a new model by a recipe; raises ``NotLearning`` or ``NotFinite``.
        recipe: of the first attempt.
        frames: the training frames.
        folder: of the trial.
        again: whether a second attempt is allowed.
        say: called with a message about the check.

    Returns:
        The model, the recipe that it was trained by, and its scores; ``retried`` records the first check.

    Raises:
        TrainingError: when the second attempt finds nothing either.
    """
    before = _recorded(folder)
    while True:
        used = recipe if before is None else recipe_from_json(before["recipe"], str(folder / RETRY_FILE))
        try:
            model, scores = fit(used)
            hits, of = outlines_found(model, frames)
            if not hits:
                steps = int(scores["steps_run"])
                raise NotLearning(OutlineCheck(steps, steps, hits, of))
        except (NotLearning, NotFinite) as problem:
            if before is not None or not again:
                raise TrainingError(_failure(problem, before)) from None
            seen = problem.seen if isinstance(problem, NotLearning) else None
            before = {"seen": str(problem), "recipe": safer(used, frames, seen).to_json()}
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / RETRY_FILE, before)
            say(f"{problem}; training restarts with safer settings")
        else:
            return model, used, scores if before is None else {**scores, "retried": before["seen"]}


def _recorded(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / RETRY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _failure(problem: TrainingError, before: dict[str, Any] | None) -> str:
    what = f"training has not learnt: {problem}"
    if before is not None:
        what += f" (a second attempt with safer settings; at the first, {before['seen']})"
    return (
        f"{what}. Check that the outlines lie on the anatomy (`fetaliqa data folder`, Slicer); then train in "
        "mode full, or from another bundle"
    )
