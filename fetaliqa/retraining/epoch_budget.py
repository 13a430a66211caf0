"""The number of epochs of a recipe that fit into a time budget on this machine."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from fetaliqa.model import CompactSeg, EncoderModel
from fetaliqa.model.preprocess import model_inputs
from fetaliqa.training.batch_sampling import GROUPED_STEPS
from fetaliqa.training.frame_head_loss import frame_head_loss
from fetaliqa.training.losses import outline_loss
from fetaliqa.training.recipes import Recipe

# Of the ten minutes of a quick training; the rest is for reading, validation, a second attempt that begins
# half-way at the latest, and the gate.
QUICK_SECONDS = 330.0
LEAST_EPOCHS = 4
TIMED_STEPS = 2  # after one that is not timed


def within_time(recipe: Recipe, model: EncoderModel, seconds: float, device: str) -> tuple[Recipe, float]:
    """The recipe with no more epochs than fit, and the seconds that a step takes.

    Args:
        recipe: with epochs of 20 steps; its number of epochs is the maximum, four the minimum.
        model: a compact model as it will be trained; its weights are not changed.
        seconds: budget of the training.
        device: where.
    """
    step = step_seconds(model, recipe, device)
    fitting = int(seconds / (step * GROUPED_STEPS))
    return replace(recipe, epochs=max(min(LEAST_EPOCHS, recipe.epochs), min(recipe.epochs, fitting))), step


def step_seconds(model: EncoderModel, recipe: Recipe, device: str) -> float:
    """Seconds of a training step (forward and backward pass), measured on noise."""
    assert isinstance(model, CompactSeg)
    side = model.architecture.vision.image_size
    home = next(model.parameters()).device
    images = torch.randint(0, 256, (recipe.batch_size, side, side), dtype=torch.uint8, device=device)
    outlines = torch.zeros(recipe.batch_size, side, side, device=device)
    model.to(device).eval()  # batch-norm statistics must not change
    for number in range(1 + TIMED_STEPS):
        if number == 1:
            started = time.perf_counter()
        outputs = model.outputs(model_inputs(model, images))
        loss = outline_loss(outputs.outline[:, 0], outlines) + frame_head_loss(outputs, outlines)
        torch.autograd.grad(loss, [one for one in model.parameters() if one.requires_grad], allow_unused=True)
        float(loss.detach())  # waits for the device
    spent = time.perf_counter() - started
    model.to(home)
    return spent / TIMED_STEPS
