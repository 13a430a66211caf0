"""A small bundle with random weights: right in form, meaningless in content."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fetaliqa.models import (
    BaseReference,
    Bundle,
    BundleCard,
    TrainingData,
    build_classification,
    build_segmentation,
    save_bundle,
)


def _card(model, name: str) -> BundleCard:
    architecture = model.architecture
    if model.task == "classification":
        architecture = replace(architecture, decoder=None)
    return BundleCard(
        name=name,
        version="1",
        task=model.task,
        architecture=architecture,
        lora=None,
        base=BaseReference("included", ""),
        anatomy="abdomen",
        training_data=TrainingData("none", "", "random weights"),
        licence="Apache-2.0",
        intended_use="tests",
        limitations="random",
    )


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory) -> Bundle:
    torch.manual_seed(0)
    model = build_segmentation("demo", random_init=True, encoder="lora")
    return save_bundle(model, _card(model, "random"), tmp_path_factory.mktemp("bundles") / "seg")


@pytest.fixture(scope="session")
def random_classifier(tmp_path_factory) -> Bundle:
    torch.manual_seed(1)
    model = build_classification("demo", random_init=True, encoder="lora")
    return save_bundle(model, _card(model, "random-cls"), tmp_path_factory.mktemp("bundles") / "cls")
