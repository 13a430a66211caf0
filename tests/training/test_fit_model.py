"""Training by Lightning: learns, goes on after a kill with the same result, and ends with a clear sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from disc_data import TINY, DiscData
from lightning.pytorch.callbacks import Callback

from fetaliqa.errors import OptionError, TrainingError
from fetaliqa.model import build_classification, build_segmentation
from fetaliqa.model.encoder_model import trainable_count, trainable_parameters
from fetaliqa.model.lora import base_state
from fetaliqa.training.batch_sampling import StepBatches, make_order
from fetaliqa.training.encoder_features import can_cache, prepare_features
from fetaliqa.training.frame_store import StoreRequest, prepare_frames
from fetaliqa.training.lightning_module import FrameModule
from fetaliqa.training.recipes import changed, recipe_named
from fetaliqa.training.run_folder import main_process
from fetaliqa.training.starting_weights import Base, freeze_unreached
from fetaliqa.training.trainer import Machine, fit_model
from fetaliqa.training.weight_averaging import Averaging

pytestmark = pytest.mark.slow

QUIET = Machine(progress=False, accelerator="cpu")


def a_model(recipe, seed=0):
    torch.manual_seed(seed)
    build = build_segmentation if recipe.task == "segmentation" else build_classification
    return build(TINY, random_init=True, encoder=recipe.encoder, lora=recipe.lora)


def state(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(one, two):
    assert one.keys() == two.keys()
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("name", ["paper", "fetaliqa"])
def test_a_recipe_learns_to_find_discs(name, stores, a_recipe, tmp_path):
    recipe = a_recipe(name, epochs=6)
    model = a_model(recipe)
    scores = fit_model(model, recipe, *stores, tmp_path / "run", seed=1, machine=QUIET)
    assert scores["val_f1"] > 0.9
    assert scores["val_dice"] > 0.7
    header = (tmp_path / "run/logs/metrics.csv").read_text().splitlines()[0]
    assert "train_loss" in header
    assert "val_loss" in header
    assert list((tmp_path / "run/tensorboard").glob("events*"))


def test_the_same_seed_gives_the_same_model_and_another_seed_another(stores, a_recipe, tmp_path):
    recipe = a_recipe(epochs=1)
    models = []
    for number, seed in enumerate((1, 1, 2)):
        model = a_model(recipe)
        fit_model(model, recipe, *stores, tmp_path / str(number), seed=seed, machine=QUIET)
        models.append(state(model))
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


class _Kill(Callback):
    """Ends the fit the hard way at a step, after writing a checkpoint there as the timed one would."""

    def __init__(self, step, folder):
        self.step, self.folder = step, folder

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.folder / "checkpoints/last.ckpt")
            raise RuntimeError("killed")


@pytest.mark.parametrize(
    ("name", "steps"),
    # within the first epoch of 11 steps, at its end, within the second
    [("fetaliqa", (3, 11, 14)), ("decoder", (14,))],
)
def test_a_run_killed_at_any_step_goes_on_with_the_same_result(stores, a_recipe, tmp_path, name, steps):
    recipe = a_recipe(name, epochs=2)
    whole = a_model(recipe)
    scores = fit_model(whole, recipe, *stores, tmp_path / "whole", seed=5, machine=QUIET)
    assert scores["steps_run"] == 22
    for step in steps:
        resumed, again = killed_and_resumed(recipe, stores, tmp_path / f"killed-{step}", step)
        assert again == scores
        assert same(state(resumed), state(whole))


def killed_and_resumed(recipe, stores, folder, step):
    """The model and scores of a run that was killed at a step and resumed."""
    with pytest.raises(RuntimeError, match="killed"):
        fit_model(
            a_model(recipe), recipe, *stores, folder, seed=5, machine=QUIET, callbacks=(_Kill(step, folder),)
        )
    resumed = a_model(recipe)
    with torch.no_grad():
        for parameter in trainable_parameters(resumed):
            parameter.fill_(99.0)  # its own values do not matter: the checkpoint has them
    return resumed, fit_model(resumed, recipe, *stores, folder, seed=5, machine=QUIET)


def tensors(value):
    """All tensors in a checkpoint's part."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    return [tensor for part in parts for tensor in tensors(part)]


@pytest.mark.parametrize(
    ("name", "changes", "copies"),
    # the weights; where they are averaged, the average too; two moments of AdamW
    [("fetaliqa", {}, 4), ("decoder", {}, 4), ("paper", {}, 3), ("fetaliqa", {"encoder": "full"}, 4)],
)
def test_a_checkpoint_holds_what_trains_and_statistics_only(name, changes, copies, stores, a_recipe, tmp_path):
    recipe = a_recipe(name, **changes)
    model = a_model(recipe)
    freeze_unreached(model, recipe)
    trained, statistics = trainable_count(model), sum(buffer.numel() for buffer in model.buffers())
    frozen = sum(parameter.numel() for parameter in model.parameters()) - trained
    with pytest.raises(RuntimeError, match="killed"):
        fit_model(model, recipe, *stores, tmp_path, seed=5, machine=QUIET, callbacks=(_Kill(14, tmp_path),))
    for file in (tmp_path / "checkpoints/last.ckpt", tmp_path / "checkpoints/best.ckpt"):
        held = torch.load(file, weights_only=True)
        steps = len(trainable_parameters(model))  # AdamW counts them by parameter
        counted = sum(tensor.numel() for tensor in tensors(held)) - steps
        assert counted == pytest.approx(copies * trained + (copies - 2) * statistics, abs=10)
        assert frozen > 100  # which would be noticed


def test_parameters_that_stand_still_are_not_copied_for_the_average(stores, a_recipe, tmp_path):
    shared = []

    class Look(Callback):
        def on_train_batch_end(self, trainer, module, *_):
            average = next(one for one in trainer.callbacks if isinstance(one, Averaging))._average_model.module
            pairs = zip(average.parameters(), module.parameters())
            shared.append([mine is own for mine, own in pairs])

    recipe = a_recipe(epochs=1)
    model = a_model(recipe)
    fit_model(model, recipe, *stores, tmp_path, seed=1, machine=QUIET, callbacks=(Look(),))
    assert shared[-1] == [not parameter.requires_grad for parameter in model.parameters()]


def test_a_loss_that_is_not_finite_ends_with_a_sentence_and_keeps_the_checkpoint(stores, a_recipe, tmp_path):
    class Spoil(Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            if trainer.current_epoch == 1:
                batch["weights"].fill_(float("nan"))

    recipe = a_recipe()
    with pytest.raises(TrainingError, match=r"loss .* nan .* step 11;.*best\.ckpt"):
        fit_model(a_model(recipe), recipe, *stores, tmp_path, seed=1, machine=QUIET, callbacks=(Spoil(),))
    assert (tmp_path / "checkpoints/best.ckpt").is_file()


def test_a_validation_loss_that_is_not_finite_is_an_error_not_an_early_stop(stores, a_recipe, tmp_path):
    class Spoil(Callback):
        def on_validation_start(self, trainer, module):
            if trainer.current_epoch == 1:
                module.model.decoder.head[-1].bias.data.fill_(float("nan"))

    recipe = a_recipe(epochs=3, ema_decay=None)
    with pytest.raises(TrainingError, match=r"validation loss .* nan .* step 22;.*best\.ckpt"):
        fit_model(a_model(recipe), recipe, *stores, tmp_path, seed=1, machine=QUIET, callbacks=(Spoil(),))


def test_trials_from_one_base_do_not_learn_from_each_other(stores, a_recipe, tmp_path):
    start = a_model(a_recipe("paper", encoder="full"))
    weights = {name: tensor.clone() for name, tensor in start.visual.state_dict().items()}
    base = Base("tiny", TINY, "included", True, weights, "Apache-2.0")
    recipe = a_recipe("paper", encoder="full")
    first = base.build(recipe, 0)
    begun = state(first)
    fit_model(first, recipe, *stores, tmp_path, seed=0, machine=QUIET)
    assert not same(begun, state(first))
    assert same(begun, state(base.build(recipe, 0)))


def test_augmentation_is_not_rounded_by_mixed_precision(stores, a_recipe):
    recipe = a_recipe()
    order = make_order(stores[0].frames, recipe, 1)
    item = StepBatches(stores[0].frames, order, recipe, 1)[0]
    seen = []

    class Recorder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, images):
            seen.append(images)
            return self.scale * images[:, :1]

    module = FrameModule(Recorder(), recipe, 10, 0)
    module.log = lambda *_, **__: None
    for mixed in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            module.training_step(item, 0)
    assert torch.equal(*seen)


def test_a_damaged_features_file_is_refused(stores, a_recipe, tmp_path):
    prepare_features(a_model(a_recipe("released-code")), stores[0], tmp_path)
    file = next(tmp_path.glob("features-*/features.f32"))
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(OptionError, match=r"features\.f32 is damaged"):
        prepare_features(a_model(a_recipe("released-code")), stores[0], tmp_path)


def test_every_trainable_parameter_of_a_full_encoder_gets_a_gradient(a_recipe):
    # else processes that train together wait for gradients that never come
    recipe = a_recipe(encoder="full")
    model = Base("scratch:tiny", TINY, "included", False, None, "Apache-2.0").build(recipe, 0).train()
    model(torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize(
    ("environment", "main"),
    [
        ({}, True),
        ({"RANK": "1", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "bash"}, False),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}, False),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}, True),
        ({"NODE_RANK": "1"}, False),
    ],
)
def test_one_process_writes_whatever_started_them(environment, main, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main_process() == main


def test_memory_running_out_ends_with_a_sentence(stores, a_recipe, tmp_path):
    class Exhaust(Callback):
        def on_train_batch_start(self, *_):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    recipe = a_recipe()
    with pytest.raises(
        TrainingError, match=r"memory ran out with batches of 8 frames; close .* lower batch_size.*; no checkpoint"
    ):
        fit_model(a_model(recipe), recipe, *stores, tmp_path, seed=1, machine=QUIET, callbacks=(Exhaust(),))


def test_training_stops_when_validation_no_longer_improves(stores, a_recipe, tmp_path):
    class NoBetter(Callback):
        """Wrong answers from the second validation on."""

        def on_validation_start(self, trainer, module):
            if trainer.current_epoch:
                module.model.decoder.head[-1].bias.data.fill_(50.0)

        def on_validation_end(self, trainer, module):
            module.model.decoder.head[-1].bias.data.fill_(0.0)

    recipe = a_recipe(epochs=40, patience=2, ema_decay=None)
    scores = fit_model(a_model(recipe), recipe, *stores, tmp_path, seed=1, machine=QUIET, callbacks=(NoBetter(),))
    assert scores["epochs_run"] == 3


def test_devices_that_are_not_there_are_refused(stores, a_recipe, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    recipe = a_recipe()
    with pytest.raises(OptionError, match="device 'cuda' cannot be used: this machine has 0 CUDA devices"):
        fit_model(a_model(recipe), recipe, *stores, tmp_path, seed=1, machine=Machine("cuda", progress=False))


def test_adapters_learn_and_a_frozen_encoder_stays_as_it_was(stores, a_recipe, tmp_path):
    for encoder in ("lora", "frozen"):
        recipe = a_recipe("paper", encoder=encoder)
        model = a_model(recipe)
        before = {name: tensor.clone() for name, tensor in base_state(model.visual).items()}
        fit_model(model, recipe, *stores, tmp_path / encoder, seed=1, machine=QUIET)
        assert same(before, dict(base_state(model.visual)))
        adapters = [p for name, p in model.named_parameters() if ".lora_B." in name]
        assert len(adapters) == (12 if encoder == "lora" else 0)
        assert all(p.abs().max() > 0 for p in adapters)


@pytest.mark.parametrize(
    ("name", "task"),
    [("paper", "segmentation"), ("paper", "classification"), ("decoder", "segmentation")],
)
def test_cached_features_train_the_same_model(name, task, stores, a_recipe, tmp_path):
    recipe = a_recipe(name, task, encoder="frozen")
    assert can_cache(recipe)
    models = []
    for cached in (False, True):
        model = a_model(recipe)
        held = [prepare_features(model, store, tmp_path / "features") if cached else None for store in stores]
        fit_model(
            *(model, recipe, *stores, tmp_path / str(cached)),
            seed=3,
            machine=QUIET,
            features=held[0],
            validation_features=held[1],
        )
        models.append(state(model))
    for name, tensor in models[0].items():
        torch.testing.assert_close(tensor, models[1][name], rtol=1e-3, atol=1e-5)


def test_features_of_other_weights_are_not_taken_for_these(stores, a_recipe, tmp_path):
    recipe = a_recipe("released-code")
    one = prepare_features(a_model(recipe, 0), stores[0], tmp_path)
    two = prepare_features(a_model(recipe, 1), stores[0], tmp_path)
    again = prepare_features(a_model(recipe, 0), stores[0], tmp_path)
    assert not (one.maps == two.maps).all()
    assert (one.maps == again.maps).all()


def test_a_feature_store_above_its_bound_is_refused(stores, a_recipe, tmp_path):
    with pytest.raises(OptionError, match="above the limit"):
        prepare_features(a_model(a_recipe("released-code")), stores[0], tmp_path, max_bytes=1000)
    assert not list(tmp_path.glob("features-*/"))


def test_nothing_is_cached_where_frames_change_or_the_encoder_learns(a_recipe):
    assert can_cache(a_recipe("released-code"))
    assert not can_cache(a_recipe("paper"))
    assert not can_cache(a_recipe("fetaliqa", encoder="frozen"))


def fit_discs(task, devices, folder):
    """Train on the discs, by one process or by several that each run this; writes the scores into the folder."""
    recipe = changed(recipe_named("fetaliqa", task), {"epochs": 2, "batch_size": 8, "lora.dropout": 0.0})
    data = DiscData()
    ids = [entry.case_id for entry in data.entries()]
    parts = [prepare_frames(data, part, StoreRequest(size=32), folder / "s") for part in (ids[:4], ids[4:])]
    machine = Machine("cpu", devices, strategy="ddp" if devices > 1 else "auto", progress=False)
    scores = fit_model(a_model(recipe), recipe, *parts, folder, seed=1, machine=machine)
    if main_process():
        (folder / "scores.json").write_text(json.dumps(scores))
    return scores


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads(1)
from fetaliqa.training.lightning_messages import quiet_lightning
from test_fit_model import fit_discs
quiet_lightning()
fit_discs(sys.argv[1], 2, Path(sys.argv[2]))
"""


def fit_discs_in_two_processes(task, folder):
    folder.mkdir()
    script = folder / "train.py"
    here = Path(__file__).parent
    script.write_text(SCRIPT.format(paths=[str(here), str(here.parent)]))
    done = subprocess.run(
        [sys.executable, str(script), task, str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "scores.json").read_text())


@pytest.mark.parametrize(
    ("task", "tolerance"),
    [("classification", 5e-3), pytest.param("segmentation", 0.15, marks=pytest.mark.long)],
)
def test_two_processes_reach_the_loss_of_one(task, tolerance, tmp_path):
    # a classifier has no batch statistics: the same up to rounding. The decoder's are of half a batch in each
    # process (synchronised on CUDA only), so its losses are near, not equal.
    one, two = fit_discs(task, 1, tmp_path / "one"), fit_discs_in_two_processes(task, tmp_path / "two")
    assert two["val_loss"] == pytest.approx(one["val_loss"], rel=tolerance)
    assert two["val_f1"] == pytest.approx(one["val_f1"], abs=0.2 if task == "segmentation" else 1e-6)
    assert two["steps_run"] == one["steps_run"]


def test_a_decoder_for_sparse_outlines_starts_by_expecting_few(a_recipe):
    models = {
        loss: Base("scratch:tiny", TINY, "included", False, None, "Apache-2.0").build(
            a_recipe(encoder="full", loss=loss), 0
        )
        for loss in ("outline", "sparse-outline")
    }
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    shares = {loss: float(torch.sigmoid(model.eval()(images)).mean()) for loss, model in models.items()}
    assert 0.02 < shares["sparse-outline"] < 0.12
    assert 0.3 < shares["outline"] < 0.7
