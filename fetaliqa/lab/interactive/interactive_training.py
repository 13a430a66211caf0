"""Training of the interactive model's decoder with simulated prompts, resumable.

The encoder is frozen: it is the shipped abdomen model's, which has seen heads, abdomens, other planes and
phantoms. A step encodes some new samples and trains on a batch from the last ones, so each encoding is used
several times. A sample is a function of seed, step and place in the step, and a stopped run continues from
its last checkpoint.
"""

from __future__ import annotations

import copy
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import TrainingError
from fetaliqa.lab.interactive.prompt_samples import PromptSample, PromptSource
from fetaliqa.lab.interactive.simulated_prompts import (
    CENTRED,
    Prompts,
    deep_point,
    nearly_right_mask,
    next_click,
    random_box,
    wrong_mask,
)
from fetaliqa.model.interactive_model import STRIDE, Answer, InteractiveSeg, prompt_maps
from fetaliqa.model.preprocess import normalise
from fetaliqa.training.weight_averaging import decay_at, move_towards

P_CLICKED = 0.4  # of a click on a previous mask in the first round
P_CARRIED_AS_IT_IS = 0.6  # of a carried mask not being changed further
DICE_WEIGHT = 0.5  # of the expected Dice
EMPTY_WEIGHT = 0.02  # of a frame that the object has left, in the mask's loss: the expected Dice tells these apart


@dataclass(frozen=True)
class InteractiveRecipe:
    """How the decoder is trained.

    Attributes:
        steps: optimiser steps.
        batch: samples of a step.
        held: steps whose new samples are kept, and drawn from.
        rounds: answers of a step to each sample, each with one more click.
        learning_rate: at the peak of one cycle.
        weight_decay: of matrices.
        warmup: share of the steps with a growing learning rate.
        average: decay per step of the averaged weights, which are the result.
        click_weight: of the cells of a click in the cross-entropy, beside 1.
        p_wrong, p_box: of a previous mask that is not right, and of a box, at the start.
        p_near: of these masks, nearly right ones.
        p_carried: of starting with the carried mask of a sample that has one, without a click.
        p_more: of further clicks in the first round.
        p_forgotten: of the previous answer not being given back.
        seed: of everything random.
    """

    steps: int
    batch: int = 12
    held: int = 24
    rounds: int = 3
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: float = 0.08
    average: float = 0.995
    clip_norm: float = 1.0
    click_weight: float = 8.0
    p_wrong: float = 0.3
    p_near: float = 0.0
    p_box: float = 0.12
    p_carried: float = 0.7
    p_more: float = 0.25
    p_forgotten: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class PromptShare:
    """A kind of samples, and how many of them are new in each step."""

    samples: PromptSource
    count: int


@dataclass(frozen=True)
class Encoded:
    """A sample with the encoder's maps in 16 bits."""

    sample: PromptSample
    maps: list[torch.Tensor]


class Episode:
    """The prompts on one sample while it is trained on."""

    def __init__(self, sample: PromptSample, recipe: InteractiveRecipe, rng: np.random.Generator) -> None:
        self._truth, self._rng, self._recipe = sample.truth, rng, recipe
        self.prompts = Prompts()
        self.previous: np.ndarray | None = None
        shown = bool(sample.truth.any())
        if sample.carried is not None and (not shown or rng.random() < recipe.p_carried):
            self.previous = (
                sample.carried if rng.random() < P_CARRIED_AS_IT_IS else wrong_mask(sample.carried, rng)
            )
        elif rng.random() < recipe.p_wrong:
            near = rng.random() < recipe.p_near
            self.previous = nearly_right_mask(sample.truth, rng) if near else wrong_mask(sample.truth, rng)
        elif rng.random() < recipe.p_box:
            self.prompts.box = random_box(sample.truth, rng)
        else:
            self._add_first()
        if shown and self.previous is not None and rng.random() < P_CLICKED:
            self.click(self.previous)
        if shown and rng.random() < recipe.p_more:
            self._add_random()

    def click(self, answer: np.ndarray) -> None:
        """Add the click that corrects an answer; a frame without the object gets none."""
        if self._truth.any():
            found = next_click(self._truth, answer, self._rng)
            if found is not None:
                (self.prompts.foreground if found[0] == "foreground" else self.prompts.background).append(found[1])
        self.previous = (
            answer if self._rng.random() >= self._recipe.p_forgotten or not self.prompts.clicks else None
        )

    def maps(self, size: int) -> torch.Tensor:
        """The decoder's input."""
        previous = None if self.previous is None else torch.from_numpy(self.previous)
        return prompt_maps(self.prompts.foreground, self.prompts.background, previous, self.prompts.box, size)

    def _add_first(self) -> None:
        place = deep_point(self._truth, CENTRED if self._rng.random() < 0.8 else 0.1, self._rng)
        if place is not None:
            self.prompts.foreground.append(place)

    def _add_random(self) -> None:
        for _ in range(int(self._rng.integers(1, 4))):
            inside = self._rng.random() < 0.5
            place = deep_point(self._truth if inside else 1 - self._truth, 0.05, self._rng)
            if place is not None:
                (self.prompts.foreground if inside else self.prompts.background).append(place)


def answer_loss(
    answer: Answer, targets: torch.Tensor, prompts: torch.Tensor, click_weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of an answer, and its Dice [N].

    Args:
        answer: of N samples.
        targets: float [N, S/2, S/2], share of the object in each cell.
        prompts: the decoder's input, [N, 8, S/2, S/2].
        click_weight: of the cells of a click, beside 1.
    """
    logits = answer.logits[:, 0].float()
    shown = (targets.amax(dim=(1, 2)) > 0).float()
    weights = 1 + click_weight * prompts[:, :2].amax(dim=1)
    pixels = functional.binary_cross_entropy_with_logits(logits, targets, weights, reduction="none").mean(
        dim=(1, 2)
    )
    probabilities = torch.sigmoid(logits)
    overlap = (probabilities * targets).sum(dim=(1, 2))
    sums = probabilities.sum(dim=(1, 2)) + targets.sum(dim=(1, 2))
    soft = 1 - 2 * (overlap + 1) / (sums + 2)
    with torch.no_grad():
        hard = (logits > 0).float()
        dice = 2 * (hard * targets).sum(dim=(1, 2)) / (hard.sum(dim=(1, 2)) + targets.sum(dim=(1, 2)) + 1e-6)
    masks = (4 * pixels + soft) * (shown + (1 - shown) * EMPTY_WEIGHT)
    quality = functional.binary_cross_entropy_with_logits(answer.dice.float(), dice.clamp(0, 1))
    return masks.mean() + DICE_WEIGHT * quality, dice


class InteractiveTrainer:
    """Trains the decoder of a model in place.

    Args:
        model: with a frozen encoder in eval mode.
        shares: of each step's new samples.
        recipe: how.
        checkpoint: file of the run's state, from which it continues.
        start: weights of the decoder to start from, where there is no checkpoint yet; None: the model's.
    """

    def __init__(
        self,
        model: InteractiveSeg,
        shares: Sequence[PromptShare],
        recipe: InteractiveRecipe,
        checkpoint: Path,
        start: dict[str, torch.Tensor] | None = None,
    ) -> None:
        self.model, self.shares, self.recipe, self.checkpoint = model, shares, recipe, checkpoint
        if start is not None:
            model.decoder.load_state_dict(start)
        trained = list(model.decoder.parameters())
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [one for one in trained if one.ndim > 1], "weight_decay": recipe.weight_decay},
                {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=recipe.warmup
        )
        self._averaged = copy.deepcopy(model.decoder)
        self._held: deque[list[Encoded]] = deque(maxlen=recipe.held)
        self.step = 0
        if checkpoint.is_file():
            self._resume(torch.load(checkpoint, weights_only=True))

    def _resume(self, state: dict) -> None:
        if state["recipe"] != asdict(self.recipe):
            raise TrainingError(f"{self.checkpoint}: a run with another recipe; name a new folder")
        self.step = state["step"]
        self.model.decoder.load_state_dict(state["decoder"])
        self._averaged.load_state_dict(state["averaged"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        if self.step == self.recipe.steps or not self.shares:
            return
        for step in range(max(0, self.step - self.recipe.held), self.step):
            self._held.append(self._new(step))

    def save(self) -> None:
        """Write a checkpoint."""
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "decoder": self.model.decoder.state_dict(),
            "averaged": self._averaged.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }
        with atomic_path(self.checkpoint) as temporary:
            torch.save(state, temporary)

    def _new(self, step: int) -> list[Encoded]:
        """The new samples of a step, encoded."""
        samples, place = [], 0
        for share in self.shares:
            for _ in range(share.count):
                samples.append(share.samples.sample(np.random.default_rng([self.recipe.seed, step, place])))
                place += 1
        images = torch.from_numpy(np.stack([one.image for one in samples]))
        with torch.no_grad():
            maps = self.model.visual(normalise(images).contiguous(memory_format=torch.channels_last))
        return [Encoded(one, [each[n].half() for each in maps]) for n, one in enumerate(samples)]

    def train_step(self) -> tuple[float, list[float]]:
        """One step; its loss, and the mean Dice of each round on samples that show the object.

        Raises:
            TrainingError: when the loss is not a finite number.
        """
        recipe, decoder = self.recipe, self.model.decoder
        self._held.append(self._new(self.step))
        rng = np.random.default_rng([recipe.seed, self.step, 1 << 20])
        pool = [one for some in self._held for one in some]
        fresh = self._held[-1][: recipe.batch // 2]
        drawn = [pool[n] for n in rng.choice(len(pool), min(recipe.batch - len(fresh), len(pool)), replace=False)]
        batch = [*fresh, *drawn]
        size = batch[0].sample.image.shape[0]
        images = torch.from_numpy(np.stack([one.sample.image for one in batch]))
        truths = torch.from_numpy(np.stack([one.sample.truth for one in batch]))
        targets = functional.avg_pool2d(truths[:, None].float(), STRIDE)[:, 0]
        shown = targets.amax(dim=(1, 2)) > 0
        maps = [torch.stack(level).float() for level in zip(*(one.maps for one in batch))]
        maps = [level.contiguous(memory_format=torch.channels_last) for level in maps]
        episodes = [Episode(one.sample, recipe, rng) for one in batch]
        decoder.train()
        self._optimizer.zero_grad()
        total, dices = 0.0, []
        for number in range(recipe.rounds):
            prompts = torch.stack([one.maps(size) for one in episodes]).contiguous(
                memory_format=torch.channels_last
            )
            answer = decoder(decoder.encode(images, maps), prompts)
            loss, dice = answer_loss(answer, targets, prompts, recipe.click_weight)
            if not torch.isfinite(loss):
                raise TrainingError(f"the loss became {float(loss)} at step {self.step}; lower learning_rate")
            (loss / recipe.rounds).backward()
            total += float(loss.detach()) / recipe.rounds
            dices.append(float(dice[shown].mean()))
            if number + 1 < recipe.rounds:
                for one, mask in zip(episodes, answered_masks(answer, size)):
                    one.click(mask)
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), recipe.clip_norm)
        self._optimizer.step()
        self._schedule.step()
        move_towards(self._averaged, decoder, 1 - decay_at(self.step, recipe.average))
        self.step += 1
        return total, dices

    def run(self, seconds: float, every: int = 20, report: Callable[[str], None] = lambda _: None) -> bool:
        """Train until the last step or for some time; True when all steps are done.

        Args:
            seconds: after which training pauses.
            every: steps between checkpoints and reports.
            report: called with a line of JSON.
        """
        start = time.monotonic()
        sums: list[tuple[float, list[float]]] = []
        while self.step < self.recipe.steps and time.monotonic() - start < seconds:
            sums.append(self.train_step())
            if self.step % every == 0 or self.step == self.recipe.steps:
                self.save()
                report(
                    json.dumps(
                        {
                            "step": self.step,
                            "loss": round(float(np.mean([one for one, _ in sums])), 4),
                            "dice": [round(float(np.nanmean(one)), 4) for one in zip(*(rest for _, rest in sums))],
                            "seconds": round(time.monotonic() - start),
                        }
                    )
                )
                sums = []
        self.save()
        return self.step >= self.recipe.steps

    def finish(self) -> None:
        """Put the averaged weights into the model, in eval mode."""
        self.model.decoder.load_state_dict(self._averaged.state_dict())
        self.model.eval()


def answered_masks(answer: Answer, size: int) -> list[np.ndarray]:
    """The masks of an answer, uint8 [S, S] of 0 and 1 each."""
    raised = functional.interpolate(
        answer.logits.detach(), size=(size, size), mode="bilinear", align_corners=False
    )
    return list((raised[:, 0] > 0).to(torch.uint8).numpy())
