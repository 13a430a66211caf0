"""A small bundle with random weights: right in form, meaningless in content."""

from __future__ import annotations

import pytest
import torch
from bundle_cards import a_card

from fetaliqa.model import Bundle, build_classification, build_segmentation, save_bundle


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory) -> Bundle:
    torch.manual_seed(0)
    model = build_segmentation("demo", random_init=True, encoder="lora")
    return save_bundle(model, a_card(model), tmp_path_factory.mktemp("bundles") / "seg")


@pytest.fixture(scope="session")
def random_classifier(tmp_path_factory) -> Bundle:
    torch.manual_seed(1)
    model = build_classification("demo", random_init=True, encoder="lora")
    return save_bundle(model, a_card(model, name="random-cls"), tmp_path_factory.mktemp("bundles") / "cls")
