"""Training that looks whether it learns: epochs, shares, second attempts, batch norms, the score of an epoch."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from disc_data import TINY
from lightning.pytorch.callbacks import Callback
from torch import nn

from fetaliqa.errors import TrainingError
from fetaliqa.model import Architecture, CompactSeg, build_segmentation, normalise
from fetaliqa.model.architecture import BackboneConfig, PyramidConfig
from fetaliqa.training.batch_sampling import GROUPED_STEPS, make_order
from fetaliqa.training.frame_head_fit import FrameHeadFit, fit_expected_dice, fit_frame_head
from fetaliqa.training.frame_head_loss import frame_dice, frame_head_loss
from fetaliqa.training.lightning_module import FrameModule
from fetaliqa.training.metric_sums import figures_of, sums_of
from fetaliqa.training.recipes import COMPACT, Recipe, changed
from fetaliqa.training.reference_update import widen_reference
from fetaliqa.training.stall_recovery import RETRY_FILE, NotLearning, OutlineCheck, fit_checked, outlines_found
from fetaliqa.training.starting_weights import begin_at_prior
from fetaliqa.training.trainer import Machine, fit_model
from fetaliqa.training.training_frames import FrameSet

pytestmark = pytest.mark.slow

SMALL = Architecture("small", BackboneConfig(32, "test_efficientnet"), PyramidConfig(32, 32, 16))
QUIET = Machine(accelerator="cpu", progress=False)


def compact() -> CompactSeg:
    torch.manual_seed(3)
    built = build_segmentation(SMALL, random_init=True, encoder="full")
    assert isinstance(built, CompactSeg)
    return built


def part(frames: FrameSet, chosen: np.ndarray) -> FrameSet:
    names = ("images", "outline_bits", "grades", "hard", "weights", "cases")
    return FrameSet(*(np.array(getattr(frames, name)[chosen]) for name in names))


def test_an_epoch_of_outlined_frames_alone_is_as_long_as_any_other(stores):
    frames = part(stores[0].frames, np.flatnonzero(stores[0].frames.grades > 0))
    order = make_order(frames, changed(COMPACT, {"batch_size": 8}), 0, np.zeros(len(frames), int))
    assert order.steps == GROUPED_STEPS
    seen = np.bincount(np.concatenate([order.batch(step) for step in range(3 * order.steps)]))
    assert seen.sum() == 3 * order.steps * 8
    assert seen.max() - seen.min() <= 1


def test_half_of_a_batch_is_without_outline_but_few_such_frames_are_not_repeated_without_end(stores):
    frames = replace(stores[0].frames, hard=np.zeros(len(stores[0].frames), bool))
    positive, empty = (np.flatnonzero((frames.grades > 0) == shown) for shown in (True, False))
    for empties, expected in ((len(empty), 8), (1, 2)):
        own = part(frames, np.concatenate([positive, empty[:empties]]))
        order = make_order(own, COMPACT, 0, np.zeros(len(own), int))
        assert (own.grades[order.batch(0)] == 0).sum() == expected


def test_the_score_of_an_epoch_counts_frames_with_and_without_outline():
    outlines = torch.zeros(4, 32, 32)
    outlines[:2, 8:20, 8:20] = 1
    answers = {
        "right": outlines * 20 - 10,
        "nothing": torch.full((4, 32, 32), -10.0),
        "in every frame": outlines[[0, 0, 0, 0]] * 20 - 10,
    }
    scores = {
        name: figures_of(sums_of(logits, outlines, torch.ones(4), torch.zeros(())).tolist(), True)["val_score"]
        for name, logits in answers.items()
    }
    assert scores == pytest.approx({"right": 1.0, "nothing": 0.0, "in every frame": 0.5})


def test_the_frame_heads_learn_presence_and_the_dice_that_the_outline_has():
    model = compact().eval()
    outlines = torch.zeros(3, 32, 32)
    outlines[0, 4:20, 4:20] = 1
    outputs = model.outputs(normalise(torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)))
    masks = outputs.outline[:, 0] > 0
    overlap = (masks[0] & (outlines[0] > 0)).sum()
    dice = 2 * overlap / (masks[0].sum() + outlines[0].sum())
    assert frame_dice(masks, outlines).tolist() == pytest.approx([float(dice), 0, 0])
    cross = functional.binary_cross_entropy_with_logits
    # of a frame without an outline there is no Dice to expect
    expected = 0.5 * cross(outputs.plane, torch.tensor([1.0, 0, 0])) + 0.2 / 3 * cross(outputs.dice[0], dice)
    assert frame_head_loss(outputs, outlines).item() == pytest.approx(expected.item())


def test_the_expected_dice_is_fitted_to_the_dice_that_outlines_have():
    model = compact().eval()
    images = torch.randint(0, 256, (8, 32, 32), dtype=torch.uint8)
    outlines = torch.zeros(8, 32, 32)
    outlines[:, 2:10, 4:20] = 1
    with torch.no_grad():
        dice = float(frame_dice(model.outputs(normalise(images)).outline[:, 0] > 0, outlines).mean())
    fit_expected_dice(model, [(images, outlines), (images, torch.zeros(8, 32, 32))])
    with torch.inference_mode():
        expected = torch.sigmoid(model.outputs(normalise(images)).dice)
    assert float(expected.mean()) == pytest.approx(dice, abs=0.01)


def test_the_frame_head_alone_learns_to_tell_frames_apart():
    model = compact().eval()
    images = torch.zeros(64, 32, 32, dtype=torch.uint8)
    images[::2, 4:20, 4:20] = 200
    outlines = torch.zeros(64, 32, 32)
    outlines[::2, 4:20, 4:20] = 1
    with torch.inference_mode():
        before = model.outputs(normalise(images))
    fit_frame_head(model, [(images, outlines, 1.0)], FrameHeadFit(epochs=60, learning_rate=0.01))
    with torch.inference_mode():
        after = model.outputs(normalise(images))
    assert torch.equal(before.outline, after.outline)
    assert ((after.plane > 0) == (torch.arange(64) % 2 == 0)).all()


@pytest.mark.parametrize("still", [True, False])
def test_batch_norms_keep_their_statistics_where_few_frames_are_trained_on(still):
    module = FrameModule(compact(), COMPACT, 10, 0, still_norms=still).train()
    norms = [one for one in module.model.visual.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    before = norms[0].running_mean.clone()
    module.model.outputs(normalise(torch.randint(0, 256, (4, 32, 32), dtype=torch.uint8)))
    assert norms
    assert all(one.training is not still for one in norms)
    assert torch.equal(before, norms[0].running_mean) is still
    assert module.model.decoder.training  # dropout goes on


def test_a_model_that_comes_in_eval_mode_is_trained_in_training_mode(stores, tmp_path):
    class Modes(Callback):
        modes: ClassVar[list[bool]] = []

        def on_train_batch_start(self, trainer, module, batch, number):
            self.modes.append(module.model.decoder.training)

    recipe = changed(COMPACT, {"epochs": 2, "batch_size": 32})
    fit_model(compact().eval(), recipe, *stores, tmp_path, seed=0, machine=QUIET, callbacks=(Modes(),))
    assert len(Modes.modes) >= 2
    assert all(Modes.modes)


def test_a_compact_model_learns_from_few_frames_in_the_module(stores, tmp_path):
    recipe = changed(COMPACT, {"epochs": 12, "batch_size": 16, "learning_rate": 5e-3})
    model = compact()
    scores = fit_model(model, recipe, *stores, tmp_path, seed=0, machine=QUIET)
    assert scores["val_score"] > 0.4
    assert outlines_found(model, stores[0].frames)[0] > 8
    images = torch.from_numpy(np.array(stores[1].frames.images))
    with torch.inference_mode():
        plane = model.outputs(normalise(images)).plane
    shown = torch.from_numpy(np.array(stores[1].frames.grades)) > 0
    assert plane[shown].mean() > plane[~shown].mean() + 1


def test_what_was_trained_on_is_not_called_unlike_the_training_data(stores):
    model, frames = compact().eval(), stores[0].frames
    reference = model.decoder.reference
    reference.whitening.copy_(torch.eye(len(reference.mean)))
    reference.limit.fill_(1e-3)
    images = torch.from_numpy(np.array(frames.images))
    with torch.inference_mode():
        features = model.reference_features(normalise(images))
    assert (reference(features) > 1).all()
    widen_reference(model, frames)
    assert 0.9 <= float((reference(features) <= 1).float().mean()) < 1
    wide = float(reference.limit)
    reference.limit.fill_(10 * wide)
    widen_reference(model, frames)
    assert float(reference.limit) == pytest.approx(10 * wide)  # never shrinks


def blind(recipe: Recipe) -> nn.Module:
    """A model whose outline starts so unlikely that no learning rate reaches it."""
    torch.manual_seed(5)
    model = build_segmentation(TINY, random_init=True, encoder="full")
    nn.init.constant_(model.outline_layer.bias, -1e4)
    begin_at_prior(model, recipe)
    return model


def fitting(stores, folder, tried: list[Recipe]):
    def fit(recipe: Recipe):
        tried.append(recipe)
        model = blind(recipe)
        return model, fit_model(model, recipe, *stores, folder, seed=0, machine=QUIET)

    return fit


CHECKED = {"checked": True, "epochs": 10, "learning_rate": 2e-2, "monitor": "val_score", "patience": 1000}


def test_a_training_that_finds_nothing_is_begun_once_more_with_safer_settings(stores, a_recipe, tmp_path):
    recipe = a_recipe("fetaliqa", encoder="full", choose_threshold=False, **CHECKED)
    tried: list[Recipe] = []
    messages: list[str] = []
    model, used, scores = fit_checked(
        *(fitting(stores, tmp_path, tried), recipe, stores[0].frames, tmp_path), again=True, say=messages.append
    )
    assert (len(tried), used) == (2, tried[1])
    assert used.name == "fetaliqa-safer"
    assert 0.01 <= used.outline_prior <= 0.5
    assert outlines_found(model, stores[0].frames)[0] > 0
    assert scores["retried"] in messages[0]
    assert "finds 0 of the 16 outlines that it is trained on" in messages[0]


def test_a_training_that_never_learns_ends_with_a_sentence(stores, a_recipe, tmp_path):
    recipe = a_recipe("fetaliqa", encoder="full", **{**CHECKED, "learning_rate": 1e-7, "epochs": 2})
    tried: list[Recipe] = []
    with pytest.raises(TrainingError, match=r"^training has not learnt: after \d+ of \d+ steps .* in mode full"):
        fit_checked(
            *(fitting(stores, tmp_path, tried), recipe, stores[0].frames, tmp_path), again=True, say=lambda _: None
        )
    assert len(tried) == 2


def test_a_killed_second_attempt_is_gone_on_with(stores, a_recipe, tmp_path):
    recipe = a_recipe("fetaliqa", encoder="full", **CHECKED)

    class Killed(Exception):
        pass

    tried: list[Recipe] = []

    def killed(used: Recipe):
        tried.append(used)
        raise Killed if len(tried) > 1 else NotLearning(OutlineCheck(1, 2, 0, 3))

    with pytest.raises(Killed):
        fit_checked(killed, recipe, stores[0].frames, tmp_path, again=True, say=lambda _: None)
    assert (tmp_path / RETRY_FILE).is_file()
    with pytest.raises(Killed):
        fit_checked(killed, recipe, stores[0].frames, tmp_path, again=True, say=lambda _: None)
    assert tried[2] == tried[1]
    assert tried[0] == recipe
