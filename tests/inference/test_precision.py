"""In which numbers the encoder computes, and that its answers are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_cards import has_cards

from fetaliqa.errors import OptionError
from fetaliqa.inference import Predictor
from fetaliqa.inference import precision as precisions
from fetaliqa.model import load_architecture
from fetaliqa.model.encoder_kinds import encoder_parameters
from fetaliqa.registry import AssessmentService

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LARGE = load_architecture("fetalclip").vision
SMALL = load_architecture("demo").vision


def test_the_published_encoder_has_its_known_size() -> None:
    assert encoder_parameters(LARGE) == 303_966_208


@pytest.mark.parametrize("has", [True, False])
def test_auto_takes_bfloat16_for_a_large_encoder_on_a_cpu_that_has_it(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precisions, "cpu_has_bf16", lambda: has)
    assert precisions.chosen_precision("auto", CPU, LARGE) == ("bf16" if has else "fp32")
    assert precisions.chosen_precision("auto", CPU, SMALL) == "fp32"
    assert precisions.chosen_precision("bf16", CPU, SMALL) == "bf16"
    with pytest.raises(OptionError, match="precision is 'int4'; it must be one of auto, fp32, bf16"):
        precisions.chosen_precision("int4", CPU, LARGE)


@pytest.mark.parametrize(
    ("capability", "found"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp32"), ((6, 1), "fp32")]
)
def test_auto_takes_bfloat16_for_a_large_encoder_on_a_card_that_has_it(
    capability: tuple[int, int], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_cards(monkeypatch, capability=capability)
    assert precisions.chosen_precision("auto", CUDA, LARGE) == found
    assert precisions.chosen_precision("auto", CUDA, SMALL) == "fp32"
    assert precisions.chosen_precision("bf16", CUDA, LARGE) == "bf16"


def test_a_bfloat16_encoder_answers_as_a_float32_one_does(random_bundle, random_classifier) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 60, 80)).astype(np.uint8)
    for bundle in (random_bundle, random_classifier):
        exact, quick = (
            next(Predictor(bundle, "cpu", precision=name).predict(frames, np.arange(3)))
            for name in ("fp32", "bf16")
        )
        if exact.probabilities is None:
            assert np.abs(exact.scores - quick.scores).max() < 0.02
            assert quick.scores.dtype == np.float32
            continue
        assert quick.probabilities.dtype == torch.float32
        assert (exact.probabilities - quick.probabilities).abs().max() < 0.02
        assert (exact.probabilities - quick.probabilities).abs().max() > 0  # it is another computation
        assert quick.appearance.dtype == torch.float32


def test_assessments_of_another_precision_are_cached_apart(random_bundle) -> None:
    from fetaliqa.inference import AssessOptions

    options = AssessOptions()
    services = [
        AssessmentService(random_bundle.directory, device="cpu", precision=name) for name in ("fp32", "bf16")
    ]
    keys = {service.opened.request(options).key("c") for service in services}
    assert len(keys) == 2
