"""Every tensor of a pass stays on the device, told without one: fake CUDA tensors have a device and a shape only.

They refuse an operation on two devices, and a value that the host would have to wait for.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from test_fit_model import a_model
from test_learning_check import compact
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model import CompactSeg, normalise
from fetaliqa.model.preprocess import model_inputs
from fetaliqa.training.augmentation import Changes, apply_changes
from fetaliqa.training.batch_sampling import StepBatches, make_order
from fetaliqa.training.frame_head_loss import frame_head_loss
from fetaliqa.training.lightning_module import FrameModule
from fetaliqa.training.recipes import COMPACT, Recipe, changed
from fetaliqa.training.training_frames import Batch

CUDA = torch.device("cuda", 0)
FRAMES = 4


def on_a_card() -> FakeTensorMode:
    """Inside, what is made on CUDA or taken there is fake."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def recipe_of(name: str, a_recipe: Any) -> Recipe:
    return changed(COMPACT, {"batch_size": FRAMES}) if name == "compact" else a_recipe(batch_size=FRAMES)


def a_model_of(recipe: Recipe) -> torch.nn.Module:
    return compact() if recipe.name == "compact" else a_model(recipe)


def first_batch(stores: Any, recipe: Recipe) -> dict[str, Any]:
    frames = stores[0].frames
    return StepBatches(frames, make_order(frames, recipe, 1), recipe, 1)[0]


def all_tensors(item: dict[str, Any]) -> list[torch.Tensor]:
    values = []
    for value in item.values():
        many = isinstance(value, Changes)
        values += [getattr(value, one.name) for one in fields(value)] if many else [value]
    return values


@pytest.mark.parametrize("name", ["fetaliqa", "compact"])
def test_a_training_batch_is_changed_and_answered_on_the_card_without_waiting_for_it(name, stores, a_recipe):
    recipe = recipe_of(name, a_recipe)
    model, item = a_model_of(recipe).train(), first_batch(stores, recipe)
    with on_a_card():
        model.to(CUDA)
        taken = {name: value.to(CUDA) for name, value in item.items()}
        batch = apply_changes(Batch(taken["images"], taken["outlines"].float()), taken["changes"], recipe.online)
        images = model_inputs(model, batch.images)
        made = [batch.images, batch.outlines, *outputs_of(model, images)]
        assert {tensor.device for tensor in (*all_tensors(taken), *made)} == {CUDA}
        with pytest.raises(DataDependentOutputException):
            made[-1].sum().item()  # so that a look at a number would have been noticed


def outputs_of(model: Any, images: torch.Tensor) -> list[torch.Tensor]:
    if not isinstance(model, CompactSeg):
        return [model(images)]
    outputs = model.outputs(images)
    return [outputs.outline, outputs.dice, outputs.embedding]


def loss_of(module: FrameModule, batch: Batch) -> torch.Tensor:
    images = model_inputs(module.model, batch.images)
    if not isinstance(module.model, CompactSeg):
        return module.loss_of(module.model(images)[:, 0], batch)
    outputs = module.model.outputs(images)
    return module.loss_of(outputs.outline[:, 0], batch) + frame_head_loss(outputs, batch.outlines, batch.weights)


@pytest.mark.parametrize("name", ["fetaliqa", "compact"])
def test_a_training_step_changes_what_trains_on_its_device(name, stores, a_recipe):
    meta = torch.device("meta")  # as fake, and gradients can be made on it
    recipe = recipe_of(name, a_recipe)
    item = {name: value.to(meta) for name, value in first_batch(stores, recipe).items()}
    module = FrameModule(a_model_of(recipe), recipe, 10, 0).train().to(meta)
    optimizer = module.configure_optimizers()["optimizer"]
    batch = Batch(item["images"], item["outlines"].float(), weights=item["weights"])
    loss_of(module, batch).backward()
    optimizer.step()
    trained = [parameter for parameter in module.model.parameters() if parameter.requires_grad]
    assert trained
    assert {None if one.grad is None else one.grad.device for one in trained} == {meta}
    held = [value for one in optimizer.state.values() for key, value in one.items() if key != "step"]
    assert {value.device for value in held} == {meta}


@pytest.mark.parametrize("name", ["fetaliqa", "compact"])
def test_frames_become_answers_on_the_card(name, a_recipe):
    model = a_model_of(recipe_of(name, a_recipe)).eval()
    grid = SquareGrid(48, 64, model.architecture.vision.image_size)
    frames = torch.from_numpy(np.zeros((FRAMES, 48, 64), np.uint8))
    with on_a_card(), torch.no_grad():
        squares = grid.stack_to_square(frames.to(CUDA))
        logits, maps = model.to(CUDA).outline_and_maps(normalise(squares))
        masks = grid.foreground_on_native(torch.sigmoid(logits.float())[:, 0], 0.5)
    assert {squares.device, logits.device, masks.device, *(one.device for one in maps)} == {CUDA}
    assert masks.shape == (FRAMES, 48, 64)
