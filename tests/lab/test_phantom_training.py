"""Training frames of phantoms, the plain training loop, and the threshold chosen on validation frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fetaliqa.errors import TrainingError
from fetaliqa.lab.phantom import PhantomSettings, draw_plan
from fetaliqa.lab.phantom.phantom_frames import Sampling, case_frames, sample_sweep
from fetaliqa.training.plain_loop import Cycle, Step, train_cycle
from fetaliqa.training.score_threshold import choose_threshold
from fetaliqa.training.training_frames import frames_of_case


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


def test_the_outlines_of_training_frames_are_as_large_as_the_phantom_s():
    settings = PhantomSettings(scale="half", sweeps=1, slots=30)
    sampling = Sampling(annotated=30, hard=0, easy=0)
    frames = case_frames(5, settings, sampling)
    truth = draw_plan(5, settings).truths[0]
    pixel_mm = settings.sector.spacing_mm * max(settings.sector.shape) / frames.size
    areas = frames.outlines(np.arange(len(frames))).sum(axis=(1, 2)) * pixel_mm**2
    assert len(areas) == (truth.grade > 0).sum() > 0
    share = areas / (np.pi * truth.semi[truth.grade > 0].prod(axis=1))
    assert share.min() > 0.78  # the sector may cut a fifth of it
    assert share.max() < 1.05


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


class _Level(nn.Module):
    """Calls every pixel as likely to be inside of the outline; a weight that is frozen, and a step counter."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))
        self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, images):
        self.steps += 1
        return self.level * self.frozen + 0 * images.float()


def _train_level(cycle, target=3.0, report=lambda _: None):
    model = _Level()
    levels = []

    def answer(images, outlines):
        levels.append(model.level.item())
        logits = model(images)
        return (logits - target).square().mean(), logits

    images, outlines = torch.zeros(2, 4, 4, dtype=torch.uint8), torch.ones(2, 4, 4)
    train_cycle(model, [(images, outlines)] * cycle.steps, answer, cycle, report)
    return model, levels


@pytest.mark.parametrize("steps", [1, 2, 10, 200])
def test_the_loop_ends_with_the_average_of_what_was_trained(steps):
    steps_reported: list[Step] = []
    model, levels = _train_level(Cycle(steps, 0.1, average=0.9), report=steps_reported.append)
    assert [one.number for one in steps_reported] == list(range(1, steps + 1))
    assert steps_reported[-1].dice == (1 if levels[-1] > 0 else 0)
    assert not model.training
    assert int(model.steps) == steps  # counters are the last ones, not averaged
    assert model.frozen.item() == 1
    if steps == 200:
        assert model.level.item() == pytest.approx(3, abs=0.1)
        assert levels[0] < model.level.item()
        assert model.level.item() != levels[-1]
    if steps == 10:  # the average lags behind
        assert 0 < model.level.item() < levels[-1]


def test_a_loss_that_is_not_finite_ends_the_loop_with_a_sentence():
    with pytest.raises(TrainingError, match="the loss became nan at step 0; lower learning_rate"):
        _train_level(Cycle(3, 0.1), target=float("nan"))
