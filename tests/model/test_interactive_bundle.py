"""The interactive bundle that ships, and bundles written and damaged."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fetaliqa.errors import BundleError
from fetaliqa.model import TrainingData
from fetaliqa.model.architecture import BackboneConfig
from fetaliqa.model.backbone import build_backbone
from fetaliqa.model.bundle_names import CARD_FILE, INTERACTIVE
from fetaliqa.model.interactive_bundle import (
    InteractiveBundle,
    InteractiveCard,
    save_interactive_bundle,
    untrained_model,
)
from fetaliqa.model.interactive_model import InteractiveSeg, PromptConfig, prompt_maps
from fetaliqa.model.preprocess import normalise
from fetaliqa.model.user_folders import INTERACTIVE_VARIABLE, interactive_folder, shipped_folder

MOST_BYTES = 10_000_000


@pytest.fixture(scope="module")
def small() -> InteractiveSeg:
    vision = BackboneConfig(64, "test_efficientnet")
    torch.manual_seed(0)
    return untrained_model(
        vision, PromptConfig((8, 16, 24, 32), 8), build_backbone(vision, random_init=True)
    ).eval()


@pytest.fixture
def saved(small: InteractiveSeg, tmp_path: Path) -> InteractiveBundle:
    card = InteractiveCard(
        "small",
        "1",
        "interactive",
        small.vision,
        small.config,
        TrainingData("none", "0" * 64, "none"),
        "x",
        "x",
        "x",
    )
    return save_interactive_bundle(small, card, tmp_path / "bundle")


def test_the_bundle_that_ships_is_small_and_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(INTERACTIVE_VARIABLE, raising=False)
    bundle = InteractiveBundle.open(interactive_folder())
    assert bundle.directory == shipped_folder(INTERACTIVE)
    assert sum(file.stat().st_size for file in bundle.directory.iterdir()) <= MOST_BYTES
    assert "not for any clinical use" in bundle.card.intended_use.lower()
    assert "CC BY 4.0" in bundle.card.licence
    for record in ("1327317", "7540448", "3904280"):  # Zenodo
        assert record in bundle.card.training_data.description
    assert bundle.load_model().training is False


def test_its_encoder_is_the_abdomen_models() -> None:
    ours, theirs = shipped_folder(INTERACTIVE), shipped_folder("abdomen")
    assert (ours / "base.safetensors").read_bytes() == (theirs / "base.safetensors").read_bytes()


def test_a_bundle_comes_back_with_the_same_answers(small: InteractiveSeg, saved: InteractiveBundle) -> None:
    loaded = saved.load_model()
    frames = torch.arange(64 * 64, dtype=torch.int64).remainder(255).to(torch.uint8).reshape(1, 64, 64)
    prompts = prompt_maps([(30, 30)], [(5, 5)], None, (10, 10, 50, 50), 64)[None]
    answers = []
    with torch.no_grad():
        for model in (small, loaded):
            maps = model.visual(normalise(frames))
            answers.append(model.decoder(model.decoder.encode(frames, maps), prompts).logits)
    assert answers[0].shape == (1, 1, 32, 32)
    torch.testing.assert_close(answers[0], answers[1], atol=0.02, rtol=0.02)  # stored in 16 bits


def test_a_changed_file_is_not_loaded(saved: InteractiveBundle) -> None:
    file = saved.directory / "head.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\0\0")
    with pytest.raises(BundleError, match="damaged or was changed"):
        saved.load_model()


def test_a_bundle_with_a_missing_file_is_not_opened(saved: InteractiveBundle) -> None:
    (saved.directory / "base.safetensors").unlink()
    with pytest.raises(BundleError, match=r"base.safetensors is missing"):
        InteractiveBundle.open(saved.directory)


def test_a_bundle_of_another_kind_is_not_opened() -> None:
    with pytest.raises(BundleError, match="the field"):
        InteractiveBundle.open(shipped_folder("head"))


def test_a_card_of_another_size_of_decoder_does_not_load(saved: InteractiveBundle) -> None:
    card = saved.directory / CARD_FILE
    values = json.loads(card.read_text())
    values["decoder"]["channels"] = [16, 16, 24, 32]
    card.write_text(json.dumps(values))
    with pytest.raises(BundleError, match=r"head.safetensors"):
        InteractiveBundle.open(saved.directory).load_model()


def test_nothing_is_overwritten_and_no_diverged_model_is_saved(
    small: InteractiveSeg, saved: InteractiveBundle, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="exists already"):
        save_interactive_bundle(small, saved.card, saved.directory)
    broken = saved.load_model()
    broken.decoder.mask.weight[:] = torch.nan
    with pytest.raises(BundleError, match="diverged"):
        save_interactive_bundle(broken, replace(saved.card), tmp_path / "broken")
    assert not (tmp_path / "broken").exists()
    shutil.rmtree(saved.directory)
