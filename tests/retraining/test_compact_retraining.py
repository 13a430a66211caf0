"""How a compact bundle is retrained: recipe, minutes, replay; and what is told of a run that has just begun."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle_cards import a_card
from filelock import FileLock
from phantom_studies import disc_studies

from fetaliqa.model import (
    Architecture,
    BaseReference,
    Bundle,
    build_segmentation,
    save_bundle,
)
from fetaliqa.model.architecture import BackboneConfig, PyramidConfig
from fetaliqa.retraining import epoch_budget, retraining_paths
from fetaliqa.retraining.epoch_budget import within_time
from fetaliqa.retraining.pipeline import RetrainRequest, retrain
from fetaliqa.retraining.progress_file import read_progress
from fetaliqa.retraining.training_modes import mode_recipe

pytestmark = pytest.mark.slow

# 64 pixels: at 32 the deepest map is one pixel, which a group norm refuses of a single frame
SMALL = Architecture("small", BackboneConfig(64, "test_efficientnet"), PyramidConfig(32, 32, 16))


@pytest.fixture
def compact(tmp_path: Path) -> Bundle:
    torch.manual_seed(3)
    model = build_segmentation(SMALL, random_init=True, encoder="full").eval()
    return save_bundle(model, a_card(model, base=BaseReference("included", "")), tmp_path / "compact")


def test_a_compact_bundle_is_trained_whole_in_both_modes_and_others_as_before(compact, untrained):
    for mode in ("quick", "full"):
        recipe = mode_recipe(mode, compact.card)
        assert (recipe.encoder, recipe.encoder_rate, recipe.checked) == ("full", 1.0, True)
    assert mode_recipe("full", compact.card).epochs > mode_recipe("quick", compact.card).epochs
    assert mode_recipe("quick", untrained.card).encoder == "frozen"
    assert mode_recipe("full", untrained.card).encoder == "lora"


def test_a_quick_training_has_as_many_steps_as_fit_into_its_minutes(compact, monkeypatch):
    model, recipe = compact.load_model(merge=False), mode_recipe("quick", compact.card)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    shorter, step = within_time(recipe, model, 3600.0, "cpu")
    assert shorter == recipe
    assert 0 < step < 10
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    for step_s, epochs in ((2.0, 8), (100.0, 4)):
        monkeypatch.setattr(epoch_budget, "step_seconds", lambda *_, step_s=step_s: step_s)
        assert within_time(recipe, model, 330.0, "cpu")[0].epochs == epochs


def test_a_compact_model_learns_from_what_is_confirmed_and_replays_nothing_of_its_own(compact, tmp_path):
    studies = disc_studies(tmp_path / "studies", 4)
    messages: list[str] = []
    asked = RetrainRequest(
        bundle=str(compact.directory), name="seg", settings={"epochs": 6, "learning_rate": 5e-3}
    )
    result = retrain(studies, asked, say=messages.append)
    assert result["replay"] is None
    figures = result["gate"]["groups"]["confirmed"]["figures"]
    assert figures["dice"]["candidate"] > figures["dice"]["published"] + 0.3
    made = Bundle.open(studies / "retraining/runs/1/trial-0/bundle")
    assert made.card.architecture == SMALL
    assert "retrain-quick-compact" in made.card.training_data.description


def test_a_run_that_has_just_begun_is_not_told_to_be_interrupted(tmp_path):
    folder = retraining_paths.run_folder(tmp_path, 1)
    folder.mkdir(parents=True)
    (folder / retraining_paths.ASKED).write_text("{}")
    assert read_progress(tmp_path)["state"] == "interrupted"
    with FileLock(retraining_paths.lock_file(tmp_path)):
        assert read_progress(tmp_path) == {"run": 1, "state": "running", "stage": "start"}
