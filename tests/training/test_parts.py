"""Batches in parts: the same steps with less memory, also when memory runs out in the middle of a run."""

import logging
from dataclasses import replace

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from test_fit_model import QUIET, a_model, same, state
from torch.autograd.graph import saved_tensors_hooks

from fetaliqa.errors import TrainingError
from fetaliqa.training.activation_recompute import recomputes
from fetaliqa.training.encoder_features import prepare_features
from fetaliqa.training.gradient_accumulation import loss_by_parts
from fetaliqa.training.lightning_module import FrameModule
from fetaliqa.training.trainer import fit_model
from fetaliqa.training.training_frames import Batch

STILL = {"norm_frames": 10_000, "lora.dropout": 0.0}  # batch norms keep their statistics, as in a retraining


def trained(recipe, stores, folder, machine=QUIET, callbacks=(), cached=False):
    model = a_model(recipe)
    held = [prepare_features(model, store, folder) if cached else None for store in stores]
    scores = fit_model(
        *(model, recipe, *stores, folder),
        seed=1,
        machine=machine,
        features=held[0],
        validation_features=held[1],
        callbacks=callbacks,
    )
    return model, scores


WHOLE = {}  # what batches computed as a whole train, by recipe


def trained_whole(recipe, stores, folder, cached=False):
    """The same as ``trained``, once for all tests: state of the model, and scores."""
    key = repr(recipe), cached
    if key not in WHOLE:
        model, scores = trained(recipe, stores, folder, cached=cached)
        WHOLE[key] = state(model), scores
    return WHOLE[key]


def alike(expected, model):
    for name, tensor in state(model).items():
        torch.testing.assert_close(expected[name], tensor, rtol=1e-3, atol=2e-5)


class Card:
    """Stands for a card with room for some frames: the model cannot compute more of them at a time."""

    def __init__(self, monkeypatch, frames, error=None):
        self.frames, self.sizes, self.error = frames, [], error or torch.OutOfMemoryError("CUDA out of memory.")
        answer = FrameModule._answer

        def limited(module, batch, held):
            answers = answer(module, batch, held)
            if len(batch.images) > self.frames * (4 if recomputes(module.model) else 1):
                raise self.error
            self.sizes.append(len(batch.images))
            return answers

        monkeypatch.setattr(FrameModule, "_answer", limited)


@pytest.mark.parametrize(
    ("name", "task", "cached"),
    [
        ("fetaliqa", "segmentation", False),
        ("decoder", "segmentation", True),
        ("fetaliqa", "classification", False),
    ],
)
@pytest.mark.parametrize(
    "frames", [3, *(pytest.param(frames, marks=pytest.mark.long) for frames in (4, 1))]
)  # 3 of 8: parts of different sizes
def test_parts_of_batches_train_the_same_model(name, task, cached, frames, stores, a_recipe, tmp_path):
    recipe = a_recipe(name, task, **STILL, sweep_weights=True)
    whole, scores = trained_whole(recipe, stores, tmp_path / "whole", cached)
    machine = replace(QUIET, micro_batch=frames)
    in_parts, again = trained(recipe, stores, tmp_path / "parts", machine, cached=cached)
    alike(whole, in_parts)
    assert again.pop("frames_at_once") == frames
    assert again == pytest.approx(scores, abs=1e-3)


@pytest.mark.parametrize(
    "message",
    [
        "CUBLAS_STATUS_ALLOC_FAILED",
        # the same of any message: tests/test_out_of_memory.py, and test_out_of_memory_in_retraining.py of a fit
        pytest.param("CUDA out of memory.", marks=pytest.mark.long),
        pytest.param("CUDNN_STATUS_ALLOC_FAILED", marks=pytest.mark.long),
    ],
)
def test_a_full_card_halves_the_batch_and_changes_no_step(
    message, stores, a_recipe, tmp_path, monkeypatch, caplog
):
    recipe = a_recipe(**STILL)
    whole, scores = trained_whole(recipe, stores, tmp_path / "whole")
    card = Card(monkeypatch, 3, RuntimeError(message))
    with caplog.at_level(logging.WARNING):
        halved, again = trained(recipe, stores, tmp_path / "halved")
    alike(whole, halved)
    assert again["steps_run"] == scores["steps_run"] == 22
    assert again["frames_at_once"] == 2
    assert max(card.sizes) == 2
    for frames in (4, 2):
        assert f"memory is short: {frames} of 8 frames are computed at a time" in caplog.text


def test_a_card_that_fills_in_the_middle_of_a_run_costs_one_more_try(stores, a_recipe, tmp_path, monkeypatch):
    recipe = a_recipe(**STILL)
    whole, _ = trained_whole(recipe, stores, tmp_path / "whole")
    card = Card(monkeypatch, 8)

    class Fill(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 5:
                card.frames = 4

    halved, scores = trained(recipe, stores, tmp_path / "halved", callbacks=(Fill(),))
    alike(whole, halved)
    assert card.sizes[:7] == [8] * 5 + [4, 4]
    assert scores["frames_at_once"] == 4


def test_memory_that_runs_out_in_the_backward_pass_halves_the_batch_too(stores, a_recipe, tmp_path, monkeypatch):
    recipe = a_recipe(**STILL)
    whole, _ = trained_whole(recipe, stores, tmp_path / "whole")
    grad, tries = torch.autograd.grad, []

    def full_once(*given, **named):
        tries.append(1)
        if len(tries) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return grad(*given, **named)

    monkeypatch.setattr(torch.autograd, "grad", full_once)
    halved, scores = trained(recipe, stores, tmp_path / "halved")
    alike(whole, halved)
    assert scores["frames_at_once"] == 4


def test_batch_norms_that_learn_keep_whole_batches_and_blocks_are_recomputed(
    stores, a_recipe, tmp_path, monkeypatch, caplog
):
    recipe = a_recipe(**{**STILL, "norm_frames": 0})
    whole, _ = trained(recipe, stores, tmp_path / "whole")
    card = Card(monkeypatch, 4)
    with caplog.at_level(logging.WARNING):
        recomputed, scores = trained(recipe, stores, tmp_path / "recomputed")
    assert {name for name, tensor in state(whole).items() if not torch.equal(tensor, state(recomputed)[name])} <= {
        name
        for name, _ in whole.named_buffers()  # statistics see the batch twice that did not fit
    }
    assert "frames_at_once" not in scores
    assert set(card.sizes) >= {8}
    assert "encoder blocks are recomputed" in caplog.text
    assert not recomputes(recomputed)


def test_the_last_sentence_says_how_few_frames_did_not_fit(stores, a_recipe, tmp_path, monkeypatch):
    Card(monkeypatch, 0)
    with pytest.raises(TrainingError, match="ran out with batches of 8 frames, 1 computed at a time; close"):
        trained(a_recipe(**STILL), stores, tmp_path)


def test_recomputed_blocks_train_the_very_same_model_and_keep_less(stores, a_recipe, tmp_path):
    recipe = a_recipe(epochs=1)
    sizes = {}
    models = []
    for recompute in (False, True):
        saved = 0

        def count(tensor):
            nonlocal saved
            saved += tensor.numel()
            return tensor

        with saved_tensors_hooks(count, lambda tensor: tensor):
            model, _ = trained(recipe, stores, tmp_path / str(recompute), replace(QUIET, recompute=recompute))
        sizes[recompute] = saved
        models.append(state(model))
    assert same(*models)
    assert sizes[True] < sizes[False]


def test_mixed_precision_is_split_too(stores, a_recipe, tmp_path):
    recipe = a_recipe(**STILL, epochs=1)
    machine = replace(QUIET, precision="bf16-mixed")
    _, scores = trained(recipe, stores, tmp_path / "whole", machine)
    _, again = trained(recipe, stores, tmp_path / "parts", replace(machine, micro_batch=2))
    assert again["val_dice"] == pytest.approx(scores["val_dice"], abs=0.1)


@pytest.mark.parametrize("recipe_name", ["paper", "fetaliqa"])
def test_where_batches_cannot_be_split_it_is_said(recipe_name, stores, a_recipe, tmp_path, caplog):
    recipe = a_recipe(recipe_name, epochs=1)  # batch Dice; batch norms that learn
    with caplog.at_level(logging.WARNING):
        trained(recipe, stores, tmp_path, replace(QUIET, micro_batch=2))
    assert "batches are not split: their loss or their batch norms need whole ones" in caplog.text


@pytest.fixture
def alone_in_a_group(tmp_path):
    """A process group of one."""
    torch.distributed.init_process_group("gloo", f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_gradients_of_parts_reach_processes_that_train_together_and_a_scaler(alone_in_a_group):
    class Step(torch.nn.Module):
        """As Lightning has it: the loss of a step is what the wrapped module answers."""

        def __init__(self):
            super().__init__()
            self.layer, self.size = torch.nn.Linear(4, 3), 10

        def forward(self, batch):
            def loss_of(part, _):
                return self.layer(part.images).square().mean()

            own = list(self.parameters())
            return loss_by_parts(loss_of, batch, None, self.size, own, scaled=lambda loss: 128 * loss)

    torch.manual_seed(0)
    step = Step()
    wrapped = torch.nn.parallel.DistributedDataParallel(step)
    batch = Batch(torch.randn(10, 4), torch.zeros(10, 1, 1))
    values = []
    for step.size in (10, 4, 1):
        wrapped.zero_grad()
        loss = wrapped(batch)
        (128 * loss).backward()
        values.append((loss.detach(), step.layer.weight.grad.clone()))
    expected = torch.autograd.grad(128 * step.layer(batch.images).square().mean(), step.layer.weight)[0]
    for loss, gradient in values:
        torch.testing.assert_close(gradient, expected)
        torch.testing.assert_close(loss, values[0][0])
