"""The demo model's recipe: the anatomy lesson, the threshold, a whole small training, and the committed bundle."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from fetaliqa.datasets.phantom import PhantomSettings, draw_plan
from fetaliqa.datasets.phantom.tissue import TISSUES
from fetaliqa.models import Bundle, build_segmentation, load_architecture
from fetaliqa.models.home import demo_folder
from fetaliqa.training.anatomy import (
    AnatomyReader,
    anatomy_objective,
    informed_start,
    sector_patches,
)
from fetaliqa.training.demo import DemoRecipe, choose_threshold, train_demo
from fetaliqa.training.frames import Batch, frames_of_case
from fetaliqa.training.phantom_frames import Sampling, case_frames, sample_sweep

DEMO = demo_folder()
VISION = load_architecture("demo").vision


def _reader(patches):
    torch.manual_seed(0)
    model = build_segmentation("demo", random_init=True, encoder="full")
    informed_start(model.visual, VISION, seed=0)
    return AnatomyReader(model.visual, VISION, patches).eval()


def test_a_cell_of_the_reading_belongs_to_its_place_in_the_picture():
    reader = _reader(np.arange(VISION.grid**2))
    image = torch.zeros(1, 3, 224, 224, requires_grad=True)
    # with attention switched off, what a cell says depends on its own patch alone
    for block in reader.visual.transformer.resblocks:
        torch.nn.init.zeros_(block.attn.out_proj.weight)
    reader(image).outline[0, 9, 30].backward()  # cell row 9 is in patch row 2, cell column 30 in patch column 7
    rows, columns = np.nonzero(image.grad[0].abs().sum(dim=0).numpy())
    assert (rows.min() // 16, rows.max() // 16) == (2, 2)
    assert (columns.min() // 16, columns.max() // 16) == (7, 7)


def test_patches_that_see_only_black_can_be_left_out():
    frames = np.zeros((2, 224, 224), np.uint8)
    frames[0, 40:90, 100:130] = 50
    frames[1, 100, 20] = 1
    patches = sector_patches(frames, 16)
    assert set(patches) == {r * 14 + c for r in (2, 3, 4, 5) for c in (6, 7, 8)} | {6 * 14 + 1}
    reader = _reader(patches)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        part = reader(images, sector_only=True)
        again = reader(images, sector_only=True)
        whole = reader(images)
    outside = torch.ones(14, 14, dtype=torch.bool)
    outside.view(-1)[torch.from_numpy(patches)] = False
    cells = outside.repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert (part.outline[:, cells] < -10).all()
    assert (part.tissues.argmax(dim=1)[:, cells] == 0).all()
    assert part.outline[:, ~cells].abs().max() < 10
    torch.testing.assert_close(part.outline, again.outline)
    assert not torch.allclose(part.measurable, whole.measurable)  # the others' tokens were not there
    assert whole.outline.abs().max() < 10


def test_the_anatomy_lesson_reaches_every_parameter():
    reader = _reader(np.arange(60)).train()
    generator = torch.Generator().manual_seed(0)
    tissues = torch.randint(0, len(TISSUES), (2, 56, 56), generator=generator)
    outlines = (torch.rand(2, 224, 224, generator=generator) > 0.5).float()
    images = torch.randint(0, 255, (2, 224, 224), dtype=torch.uint8, generator=generator)
    anatomy_objective(tissues.numpy().astype(np.uint8))(reader, Batch(images, outlines, tissues), 0.0).backward()
    without = [name for name, parameter in reader.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in reader.parameters())


def test_negatives_stand_for_all_negatives_of_their_sweep():
    plan = draw_plan(3)
    for truth in plan.truths:
        chosen, hard, weights = sample_sweep(
            truth, Sampling(annotated=3, hard=4, easy=2), np.random.default_rng(0)
        )
        assert sorted(chosen) == list(chosen)
        annotated = truth.grade[chosen] > 0
        assert annotated.sum() == min(3, (truth.grade > 0).sum())
        assert not (hard & annotated).any()
        assert weights.sum() == pytest.approx(len(truth.grade), rel=1e-5)
        cuts = (truth.semi[:, 0] > 0) & (truth.grade == 0)
        assert weights[hard].sum() == pytest.approx(cuts.sum(), rel=1e-5)


def test_training_frames_show_what_the_phantom_shows():
    frames = case_frames(
        5, PhantomSettings(scale="half", sweeps=1, slots=30), Sampling(annotated=9, hard=2, easy=1)
    )
    inside = frames.outlines(np.arange(len(frames))).reshape(len(frames), 56, 4, 56, 4).mean(axis=(2, 4)) == 1
    trunk = [TISSUES.index(name) for name in ("trunk", "stomach", "vein", "thorax", "lower abdomen", "spine")]
    assert (frames.grades > 0).any()
    assert np.isin(frames.tissues[inside], trunk).mean() > 0.97


class _Answers(torch.nn.Module):
    """Answers each frame with the probability written into its first pixel."""

    def forward(self, images):
        probability = (images[:, :1, :1, :1] * 0.26862954 + 0.48145466).clamp(0.001, 0.999)
        return torch.logit(probability).expand(-1, 1, 224, 224)


def test_the_threshold_weighs_negatives_by_what_they_stand_for():
    probabilities = np.array([0.9, 0.8, 0.62, 0.7, 0.1])
    images = np.tile(np.round(probabilities * 255).astype(np.uint8)[:, None, None], (1, 224, 224))
    masks = np.zeros_like(images)
    masks[:3] = 1
    weights = np.array([1, 1, 1, 1, 1], np.float32)
    hard = np.zeros(5, bool)
    threshold, scores = choose_threshold(
        _Answers(), frames_of_case(images, masks, hard=hard, case=0, weights=weights)
    )
    assert threshold < 0.62  # one wrong frame costs less than a missed one
    assert scores["validation_f1_at_0.5"] == pytest.approx(6 / 7, abs=1e-3)
    weights[3] = 20
    threshold, scores = choose_threshold(
        _Answers(), frames_of_case(images, masks, hard=hard, case=0, weights=weights)
    )
    assert 0.7 <= threshold < 0.8  # the wrong frame stands for twenty
    assert scores["validation_f1_at_0.5"] == pytest.approx(6 / 26, abs=1e-3)


def test_a_small_training_gives_a_bundle_that_loads(tmp_path):
    recipe = DemoRecipe(train_cases=1, validation_cases=1, sampling=Sampling(2, 1, 1))
    recipe = replace(
        recipe,
        encoder=replace(recipe.encoder, steps=3, batch_size=4),
        adapters=replace(recipe.adapters, steps=2, batch_size=4),
        whole=replace(recipe.whole, steps=2, batch_size=4),
    )
    stages = []
    before = torch.get_num_threads()
    train_demo(tmp_path / "made", recipe, lambda stage, done, total, _: stages.append((stage, done, total)), 1)
    assert torch.get_num_threads() == before
    assert ("train encoder", 3, 3) in stages
    assert ("train adapters and decoder", 2, 2) in stages
    assert ("train on whole frames", 2, 2) in stages
    bundle = Bundle.open(tmp_path / "made")
    assert 0.2 < bundle.card.threshold.probability < 1
    assert "phantom" in bundle.card.limitations.lower()
    model = bundle.load_model()
    with torch.inference_mode():
        assert bool(torch.isfinite(model(torch.zeros(1, 3, 224, 224))).all())


def test_the_committed_demo_model_is_this_recipe_s():
    assert str(asdict(DemoRecipe())) in Bundle.open(DEMO).card.training_data.description
