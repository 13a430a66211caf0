"""Simulated prompts, and training that continues where it stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fetaliqa.errors import TrainingError
from fetaliqa.lab.interactive.click_evaluation import clicks_to_goal, region_growing, summary
from fetaliqa.lab.interactive.interactive_training import InteractiveRecipe, InteractiveTrainer, PromptShare
from fetaliqa.lab.interactive.prompt_samples import Carried, PhantomRun, PromptSample, kept_runs, mild
from fetaliqa.lab.interactive.simulated_prompts import nearly_right_mask, next_click, random_box, wrong_mask
from fetaliqa.lab.interactive.synthetic_objects import grey_region, with_lesion
from fetaliqa.lab.stills.still_augmentation import Settings
from fetaliqa.model.architecture import BackboneConfig
from fetaliqa.model.backbone import build_backbone
from fetaliqa.model.interactive_bundle import untrained_model
from fetaliqa.model.interactive_model import InteractiveSeg, PromptConfig

SIDE = 64


def disc(radius: int, column: int = 32, row: int = 32, side: int = SIDE) -> np.ndarray:
    rows, columns = np.indices((side, side))
    return (((rows - row) ** 2 + (columns - column) ** 2) < radius**2).astype(np.uint8)


class Discs:
    """Bright discs on noise."""

    def sample(self, rng: np.random.Generator) -> PromptSample:
        truth = disc(int(rng.integers(8, 20)), int(rng.integers(24, 40)), int(rng.integers(24, 40)))
        image = rng.integers(20, 60, (SIDE, SIDE)) + 120 * truth
        return PromptSample(image.astype(np.uint8), truth, np.roll(truth, 3, 1) if rng.random() < 0.3 else None)


def model() -> InteractiveSeg:
    vision = BackboneConfig(SIDE, "test_efficientnet")
    torch.manual_seed(0)
    visual = build_backbone(vision, random_init=True).eval().requires_grad_(False)
    return untrained_model(vision, PromptConfig((16, 16, 24, 32), 8), visual)


def trainer(file: Path, steps: int = 12) -> InteractiveTrainer:
    recipe = InteractiveRecipe(steps=steps, batch=4, held=3, rounds=2, average=0.8, p_near=0.5)
    return InteractiveTrainer(model(), [PromptShare(Discs(), 3)], recipe, file)


def test_clicks_go_where_most_is_wrong() -> None:
    truth = disc(12)
    assert next_click(truth, np.zeros_like(truth)) == ("foreground", (32.0, 32.0))
    kind, (column, row) = next_click(truth, truth | disc(6, 8, 50)) or ("", (0, 0))
    assert (kind, disc(6, 8, 50)[int(row), int(column)]) == ("background", 1)
    assert next_click(truth, truth) is None


def test_training_clicks_are_in_the_region_that_is_wrong() -> None:
    truth, rng = disc(12), np.random.default_rng(0)
    places = {next_click(truth, np.zeros_like(truth), rng)[1] for _ in range(20)}  # type: ignore[index]
    assert len(places) > 5
    assert all(truth[int(row), int(column)] for column, row in places)


def test_wrong_masks_are_wrong_and_nearly_right_ones_nearly_right() -> None:
    truth, rng = disc(40, 112, 112, 224), np.random.default_rng(1)

    def overlaps(make) -> list[float]:
        return [
            2 * (truth & one).sum() / (truth.sum() + one.sum()) for one in (make(truth, rng) for _ in range(30))
        ]

    near, far = overlaps(nearly_right_mask), overlaps(wrong_mask)
    assert min(near) > 0.75
    assert np.mean(far) < np.mean(near) < 1
    left, top, right, bottom = random_box(truth, rng) or (0, 0, 0, 0)
    assert abs(right - left - 78) < 20
    assert abs(bottom - top - 78) < 20


def test_objects_without_an_anatomy_lie_in_the_tissue() -> None:
    rng = np.random.default_rng(2)
    image = (90 * disc(38, 112, 112, 224) + 60 * disc(20, 112, 112, 224)).astype(np.uint8)
    region = grey_region(image, rng)
    assert region is not None
    assert image[region > 0].mean() > 60
    painted, lesion = with_lesion(image, rng)
    assert painted.shape == image.shape
    assert lesion.any()
    assert (painted != image)[lesion > 0].any()


def test_training_learns_and_a_stopped_run_continues_exactly(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole.pt")
    assert whole.run(1e9, every=100)
    part = trainer(tmp_path / "part.pt")
    for _ in range(5):
        part.train_step()
    part.save()
    resumed = trainer(tmp_path / "part.pt")
    assert resumed.step == 5
    assert resumed.run(1e9, every=100)
    for name, value in whole.model.decoder.state_dict().items():
        torch.testing.assert_close(resumed.model.decoder.state_dict()[name], value, msg=name)
    before, after = model().decoder.state_dict(), whole.model.decoder.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert not whole.model.visual.training


def test_a_run_is_not_continued_with_another_recipe(tmp_path: Path) -> None:
    first = trainer(tmp_path / "run.pt")
    first.save()
    with pytest.raises(TrainingError, match="another recipe"):
        trainer(tmp_path / "run.pt", steps=13)


def test_a_carried_mask_moves_with_its_frame_and_may_have_nothing_to_show(tmp_path: Path) -> None:
    masks = np.stack([disc(20, 60, 60 + 2 * n, 120) * (n < 4) for n in range(8)]).astype(np.uint8)
    run = PhantomRun((60 + 120 * masks).astype(np.uint8), masks, np.arange(8))
    (kept,) = kept_runs(tmp_path / "runs.npz", lambda: [run])
    np.testing.assert_array_equal(kept.masks, masks)
    settings = mild(Settings(p_view=0.0, p_cut=0.0))
    rng = np.random.default_rng(4)
    there = [Carried([kept], settings, left=0.0).sample(rng) for _ in range(5)]
    for one in there:
        assert one.carried is not None
        overlap = 2 * (one.carried & one.truth).sum() / (one.carried.sum() + one.truth.sum())
        assert overlap > 0.6
    gone = Carried([kept], settings, left=1.0).sample(rng)
    assert not gone.truth.any()
    assert gone.carried is not None
    assert gone.carried.any()


def test_clicks_are_counted_until_the_goal() -> None:
    truth = disc(12)
    answers = iter([disc(6), disc(12)])
    result = clicks_to_goal("one", truth, lambda clicks, previous: next(answers))
    assert (result.needed, len(result.clicks), result.reached) == (2, 2, True)
    started = clicks_to_goal("two", truth, lambda clicks, previous: truth, initial=truth)
    assert started.needed == 0
    never = clicks_to_goal("three", truth, lambda clicks, previous: disc(6), most=4)
    assert (never.needed, never.reached) == (20, False)
    figures = summary([result, started, never])
    assert (figures["clicks_to_90"], figures["not_reached"]) == (7.33, 1)


def test_region_growing_finds_a_bright_disc() -> None:
    truth = disc(12)
    image = (30 + 150 * truth).astype(np.uint8)
    image[::2] += 6  # some texture, as the range of a flat region is empty
    result = clicks_to_goal("disc", truth, region_growing(image, 2.5))
    assert max(result.ious) > 0.8
