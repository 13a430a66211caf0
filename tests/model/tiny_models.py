"""Fixtures: a tiny model of the same classes, and what is needed to save it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from bundle_cards import a_card

from fetaliqa.model import (
    Architecture,
    BaseReference,
    BundleCard,
    DecoderConfig,
    EncoderModel,
    FetalCLIPSeg,
    VisionConfig,
    build_segmentation,
)

TINY = Architecture("tiny", VisionConfig(32, 8, 32, 4, 2, 16, 4.0), DecoderConfig((1, 2, 3, 4), 4))


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        yield


@pytest.fixture
def tiny() -> Architecture:
    return TINY


def wake(model: EncoderModel) -> None:
    """Make adapters and batch norms do something, as training would."""
    with torch.no_grad():
        for name, parameter in model.visual.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.05)
        for name, buffer in model.head_module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)


@pytest.fixture
def tiny_model(tiny: Architecture) -> FetalCLIPSeg:
    """A segmentation model as training leaves it: adapters awake, eval mode."""
    model = build_segmentation(tiny, random_init=True)
    wake(model)
    return model.eval()


@pytest.fixture
def card_for() -> Callable[..., BundleCard]:
    def make(model: EncoderModel, kind: str = "included", **changes: object) -> BundleCard:
        base = BaseReference(kind, "0" * 64)  # type: ignore[arg-type]
        fields = {"name": "tiny", "version": "1.0.0", "base": base, "metrics": {"frame_f1": 0.5}}
        return a_card(model, **{**fields, **changes})

    return make
