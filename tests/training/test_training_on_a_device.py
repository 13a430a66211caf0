"""What training does so that a GPU need not wait for its host: on a CPU, and on a GPU where there is one."""

import copy
import json
import pickle
import traceback
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from fake_cards import has_cards
from lightning.pytorch.callbacks import Callback, WeightAveraging
from test_fit_model import QUIET, _Kill, a_model, same, state, tensors
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data._utils.pin_memory import pin_memory

from fetaliqa.errors import OptionError, TrainingError
from fetaliqa.out_of_memory import free_memory
from fetaliqa.retraining import progress_file as progress_module
from fetaliqa.retraining.progress_callback import TrainingProgress
from fetaliqa.retraining.progress_file import Progress
from fetaliqa.training.batch_sampling import OrderedBatches, StepBatches, loader, make_order
from fetaliqa.training.encoder_features import (
    FeatureStore,
    JoinedFeatures,
    WithFeatures,
    can_cache,
    prepare_features,
)
from fetaliqa.training.recipes import recipe_named
from fetaliqa.training.trainer import Machine, fit_model
from fetaliqa.training.weight_averaging import Averaging

pytestmark = pytest.mark.slow


class SpoilOnce(Callback):
    """One batch, at a step, whose loss is not a number."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == self.step:
            batch["weights"].fill_(float("nan"))


@pytest.mark.parametrize(("spoilt", "kept"), [(13, 11), (3, None)])
def test_losses_looked_at_together_name_the_first_bad_step_and_spoil_no_checkpoint(
    spoilt, kept, stores, a_recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(Machine, "check_every", lambda _: 1000)  # so only before validation and checkpoints
    recipe = a_recipe()  # 11 steps an epoch
    with pytest.raises(TrainingError, match=rf"the loss became nan at step {spoilt}; lower learning_rate"):
        fit_model(
            a_model(recipe), recipe, *stores, tmp_path, seed=1, machine=QUIET, callbacks=(SpoilOnce(spoilt),)
        )
    files = sorted((tmp_path / "checkpoints").glob("*.ckpt"))
    assert [file.name for file in files] == ([] if kept is None else ["best.ckpt", "last.ckpt"])
    for file in files:
        held = torch.load(file, weights_only=True)
        assert held["global_step"] == kept
        assert all(value.isfinite().all() for value in held["state_dict"].values())


def test_a_checkpoint_within_an_epoch_is_not_written_after_a_bad_step(stores, a_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(Machine, "check_every", lambda _: 1000)
    recipe = a_recipe()
    callbacks = (SpoilOnce(3), _Kill(6, tmp_path))
    with pytest.raises(TrainingError, match=r"the loss became nan at step 3; .* no checkpoint was written yet"):
        fit_model(a_model(recipe), recipe, *stores, tmp_path, seed=1, machine=QUIET, callbacks=callbacks)
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_settings_of_the_process_are_as_before_once_training_has_ended(stores, a_recipe, tmp_path):
    def settings():
        return torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()

    seen = []

    class Look(Callback):
        def on_train_start(self, trainer, module):
            seen.append(settings())

    recipe, before = a_recipe(epochs=1), settings()
    fit_model(a_model(recipe), recipe, *stores, tmp_path, seed=1, machine=QUIET, callbacks=(Look(),))
    assert seen == [("high", QUIET.deterministic)]
    assert settings() == before
    assert before != seen[0]


def test_batches_loaded_by_processes_train_the_same_model_also_when_killed(stores, a_recipe, tmp_path):
    recipe = a_recipe()
    whole, resumed, by_processes = a_model(recipe), a_model(recipe), replace(QUIET, workers=2)
    fit_model(whole, recipe, *stores, tmp_path / "whole", seed=5, machine=QUIET)
    folder = tmp_path / "killed"
    with pytest.raises(RuntimeError, match="killed"):
        fit_model(
            *(a_model(recipe), recipe, *stores, folder),
            seed=5,
            machine=by_processes,
            callbacks=(_Kill(3, folder),),
        )
    fit_model(resumed, recipe, *stores, folder, seed=5, machine=by_processes)
    assert same(state(whole), state(resumed))


def test_loader_processes_are_started_once_for_all_epochs(stores, a_recipe, tmp_path, monkeypatch):
    started = []
    start = BaseProcess.start
    monkeypatch.setattr(BaseProcess, "start", lambda process: (started.append(process), start(process))[1])
    recipe = a_recipe(epochs=3)
    fit_model(a_model(recipe), recipe, *stores, tmp_path, seed=5, machine=replace(QUIET, workers=2))
    assert len(started) == 2 + 2  # to train and to validate
    free_memory()
    assert not any(process.is_alive() for process in started)


def test_loader_processes_are_told_where_frames_lie_and_not_sent_them(stores, a_recipe):
    frames, recipe = stores[0].frames, a_recipe()
    batches = StepBatches(frames, make_order(frames, recipe, 1), recipe, 1)
    sent = pickle.dumps(batches)
    assert len(sent) < frames.images.nbytes / 4
    received = pickle.loads(sent)
    assert isinstance(received.frames.images, np.memmap)
    for one, two in zip(tensors(received[3]), tensors(batches[3]), strict=True):
        assert torch.equal(one, two)


def test_frames_that_are_a_part_of_a_file_are_sent_themselves(stores):
    frames = stores[0].frames
    part = replace(frames, images=frames.images[5:9], outline_bits=np.array(frames.outline_bits))
    received = pickle.loads(pickle.dumps(part))
    assert np.array_equal(received.images, frames.images[5:9])
    assert np.array_equal(received.outline_bits, frames.outline_bits)


class ScalarReads(TorchDispatchMode):
    """Notes which functions have asked a tensor for a number in a training step: a GPU would be waited for.

    Left out are the optimiser, which is fused on CUDA, and the counter of the average, which is kept on the CPU.
    """

    LEFT_OUT = ("torch/optim/", "training/weight_averaging.py")

    def __init__(self):
        super().__init__()
        self.readers = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            self.note()
        return function(*args, **(kwargs or {}))

    def note(self):
        stack = traceback.extract_stack()
        step = any(
            frame.filename.endswith("training_epoch_loop.py") and frame.name == "advance" for frame in stack
        )
        if step and not any(part in frame.filename for frame in stack for part in self.LEFT_OUT):
            self.readers.append([f"{Path(frame.filename).name}:{frame.name}" for frame in stack[-8:-2]])


def scalar_reads(fit, monkeypatch):
    """Who reads scalars in the steps of a fit."""
    reads = ScalarReads()
    with monkeypatch.context() as patched:
        for name in ("tolist", "cpu"):  # of which the dispatcher does not know on a CPU
            plain = getattr(torch.Tensor, name)
            patched.setattr(torch.Tensor, name, lambda tensor, plain=plain: (reads.note(), plain(tensor))[1])
        with reads:
            fit()
    return reads.readers


@pytest.mark.parametrize("name", ["fetaliqa", "decoder"])
def test_no_step_of_a_retraining_waits_for_the_device(name, stores, a_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(Machine, "check_every", lambda _: 1000)
    monkeypatch.setattr(progress_module, "WRITE_SECONDS", 1e9)  # written at stages and validations only

    def fit(batch_size):
        recipe = a_recipe(name, batch_size=batch_size, checked=True)
        folder, model = tmp_path / str(batch_size), a_model(recipe)
        held = [prepare_features(model, store, tmp_path) if can_cache(recipe) else None for store in stores]
        return lambda: fit_model(
            *(model, recipe, *stores, folder),
            seed=1,
            machine=QUIET,
            features=held[0],
            validation_features=held[1],
            callbacks=(TrainingProgress(Progress(folder, 1)),),
        )

    few, many = (scalar_reads(fit(batch_size), monkeypatch) for batch_size in (16, 8))  # 10 and 22 steps
    assert 0 < len(few) < 10  # the looks whether outlines are found, and the log, every tenth step
    assert len(many) - len(few) <= 22 // 10, many


def test_losses_are_read_together_when_the_file_is_written(stores, a_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(progress_module, "WRITE_SECONDS", 1e9)
    recipe, progress, losses = a_recipe(epochs=1), Progress(tmp_path, 1), []

    class Note(Callback):
        def on_train_batch_end(self, trainer, module, outputs, *_):
            losses.append(round(float(outputs["loss"]), 5))

    callbacks = (TrainingProgress(progress), Note())
    fit_model(a_model(recipe), recipe, *stores, tmp_path, seed=1, machine=QUIET, callbacks=callbacks)
    assert progress.values["losses"] == pytest.approx(losses)
    assert json.loads(progress.file.read_text())["losses"] == progress.values["losses"]
    assert set(progress.values["validation"]) == {"val_loss", "val_dice", "val_f1", "val_score"}


def test_the_bar_shows_the_loss(stores, a_recipe, tmp_path, capsys):
    recipe = a_recipe(epochs=1)
    machine = replace(QUIET, progress=True)
    fit_model(a_model(recipe), recipe, *stores, tmp_path, seed=1, machine=machine)
    assert "train_loss=" in capsys.readouterr().out


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_features_come_with_their_frames_in_order_whoever_gathers_them(threads, stores, a_recipe, tmp_path):
    held = prepare_features(a_model(a_recipe("decoder")), stores[0], tmp_path)
    joined = JoinedFeatures(held.maps[:7], (FeatureStore(held.maps[:7]), FeatureStore(held.maps[7:])))
    batches = OrderedBatches(stores[0].frames, 5)
    for store in (held, joined):
        loaded = WithFeatures(loader(batches, None), store, threads)
        items = list(loaded)
        assert len(items) == len(loaded) == len(batches)
        for item, plain in zip(items, batches):
            assert torch.equal(item["images"], plain["images"])
            assert np.array_equal(item["features"].numpy(), held.maps[plain["indices"].numpy()])


def test_an_error_while_features_are_gathered_is_not_swallowed(stores, a_recipe, tmp_path, monkeypatch):
    held = prepare_features(a_model(a_recipe("decoder")), stores[0], tmp_path)

    def full(*_):
        raise torch.OutOfMemoryError("pinned memory")

    monkeypatch.setattr(FeatureStore, "gather", full)
    with pytest.raises(torch.OutOfMemoryError, match="pinned memory"):
        list(WithFeatures(loader(OrderedBatches(stores[0].frames, 5), None), held, 2))


def test_every_tensor_of_a_batch_is_pinned(stores, a_recipe, monkeypatch):
    recipe = a_recipe()
    item = StepBatches(stores[0].frames, make_order(stores[0].frames, recipe, 1), recipe, 1)[0]
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: (pinned.append(tensor), tensor.clone())[1])
    given = pin_memory(item)
    assert len(pinned) == 4 + 5  # images, outlines, indices, weights; and five that say how frames change
    assert torch.equal(given["changes"].thetas, item["changes"].thetas)
    assert given["changes"].thetas is not item["changes"].thetas
    assert given["changes"].mirrored.dtype == torch.bool


@pytest.mark.parametrize(
    ("cuda", "asked", "found"), [(True, None, 2), (True, 0, 0), (False, None, 0), (False, 3, 3)]
)
def test_loader_processes_are_the_usual_thing_on_cuda_only(cuda, asked, found, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    machine = Machine(workers=asked)
    assert machine.loader_workers() == found
    assert machine.check_every() == (50 if cuda else 1)


@pytest.mark.parametrize(
    ("capability", "computed"), [((9, 0), "bf16-mixed"), ((8, 0), "bf16-mixed"), ((7, 5), "32-true")]
)
def test_training_is_in_bfloat16_on_cards_that_have_it_only(capability, computed, monkeypatch):
    has_cards(monkeypatch, capability=capability)
    assert Machine().precision_of(recipe_named("fetaliqa")) == computed
    assert Machine(precision="bf16-mixed").precision_of(recipe_named("fetaliqa")) == "bf16-mixed"
    assert Machine("cpu").precision_of(recipe_named("fetaliqa")) == "32-true"


def test_several_processes_on_one_card_are_refused():
    with pytest.raises(OptionError, match="device cuda:1 is one card; 2 processes cannot share it"):
        Machine("cuda", devices=2, index=1)


class Small(pl.LightningModule):
    """A part that trains, one that does not, and statistics."""

    def __init__(self):
        super().__init__()
        self.trains, self.frozen = nn.Linear(5, 3), nn.Linear(3, 3).requires_grad_(False)
        self.norm = nn.BatchNorm1d(3)


def test_averaged_weights_are_those_of_lightning_with_the_same_decay():
    def growing(kept, new, count):
        if not kept.dtype.is_floating_point:
            return new
        return kept.lerp(new, 1 - min(0.3, (1 + float(count)) / (10 + float(count))))

    torch.manual_seed(0)
    module = Small()
    ours, theirs = Averaging(0.3), WeightAveraging(use_buffers=True, avg_fn=growing)
    trainer = type("Trainer", (), {"global_step": 0})()
    for one in (ours, theirs):
        one.setup(trainer, module, "fit")
    for step in range(6):
        with torch.no_grad():
            for value in (*module.trains.parameters(), module.norm.running_mean):
                value.add_(torch.randn_like(value))
        module.norm.num_batches_tracked += 1
        trainer.global_step = step + 1
        for one in (ours, theirs):
            one.on_train_batch_end(trainer, module, None, None, step)
    mine, expected = ours._average_model.state_dict(), theirs._average_model.state_dict()
    assert same(mine, expected)
    assert int(mine["n_averaged"]) == 6
    assert int(mine["module.norm.num_batches_tracked"]) == 6
    assert not torch.equal(mine["module.trains.weight"], module.trains.weight)
    before = copy.deepcopy(mine)
    for one in (ours, theirs):
        one.on_train_batch_end(trainer, module, None, None, 6)  # no step was taken
    assert same(before, ours._average_model.state_dict())


@pytest.mark.cuda
def test_a_run_on_a_gpu_learns_and_goes_on_after_a_kill(stores, a_recipe, tmp_path):
    recipe, machine = a_recipe(epochs=6), Machine(accelerator="cuda", progress=False)
    scores = fit_model(a_model(recipe), recipe, *stores, tmp_path / "whole", seed=1, machine=machine)
    assert scores["val_f1"] > 0.9
    folder = tmp_path / "killed"
    with pytest.raises(RuntimeError, match="killed"):
        fit_model(
            a_model(recipe), recipe, *stores, folder, seed=1, machine=machine, callbacks=(_Kill(14, folder),)
        )
    again = fit_model(a_model(recipe), recipe, *stores, folder, seed=1, machine=machine)
    assert again["val_dice"] == pytest.approx(scores["val_dice"], abs=0.1)
