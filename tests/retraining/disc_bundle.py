"""A bundle small enough to be retrained in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle_cards import a_card

from fetaliqa.model import (
    Architecture,
    BaseReference,
    Bundle,
    DecoderConfig,
    LoraSettings,
    VisionConfig,
    build_segmentation,
    save_bundle,
)

TINY = Architecture("tiny", VisionConfig(32, 8, 16, 4, 2, 16, 2.0), DecoderConfig((1, 2, 3, 4), 4))
FAST = {"learning_rate": 2e-2, "epochs": 10}  # of a model that has everything to learn


def disc_bundle(folder: Path, seed: int = 5, lora: bool = True) -> Bundle:
    """With adapters that say something, as training leaves them."""
    torch.manual_seed(seed)
    model = build_segmentation(TINY, random_init=True, encoder="lora", lora=LoraSettings(rank=2, dropout=0.0))
    with torch.no_grad():
        for name, parameter in model.visual.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.05)
    return save_bundle(model.eval(), a_card(model, name="tiny", base=BaseReference("included", "")), folder)


@pytest.fixture
def untrained(tmp_path: Path) -> Bundle:
    """A tiny bundle that has learnt nothing yet."""
    return disc_bundle(tmp_path / "untrained")
