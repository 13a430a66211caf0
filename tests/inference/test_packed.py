"""Weights laid out beforehand: the same answers as the plain layers'."""

from __future__ import annotations

import copy

import pytest
import torch

from fetaliqa.inference import packed_weights
from fetaliqa.inference.packed_weights import can_pack, pack_encoder
from fetaliqa.inference.precision import set_precision
from fetaliqa.model import build_segmentation

CPU = torch.device("cpu")


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(packed_weights, "LEAST_PARAMETERS", 0)
    torch.manual_seed(0)
    made = build_segmentation("demo", random_init=True).merged()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):  # a fresh model's are zero
                parameter.normal_(std=0.1)
    return made


def maps_of(model):
    side = model.architecture.vision.image_size
    with torch.inference_mode():
        return model.features(torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-4), ("bf16", 0.05)])
def test_a_packed_encoder_answers_as_the_plain_one(model, precision, apart, monkeypatch) -> None:
    monkeypatch.setattr(packed_weights, "cpu_has_avx512", lambda: True)  # slower without, and as right
    if not can_pack(precision):
        pytest.skip(f"this PyTorch or CPU has no {precision} products of oneDNN")
    set_precision(model, precision, CPU)
    plain = maps_of(model)
    quick = copy.deepcopy(model)
    assert pack_encoder(quick, precision)
    for ours, theirs in zip(maps_of(quick), plain, strict=True):
        assert ours.dtype == theirs.dtype
        assert (ours - theirs).abs().max() < apart * theirs.abs().max()
    left = sum(parameter.numel() for parameter in quick.visual.parameters())
    assert left < 0.2 * sum(parameter.numel() for parameter in model.visual.parameters())  # not held twice


def test_a_small_encoder_is_left_as_it_is(model, monkeypatch) -> None:
    monkeypatch.setattr(packed_weights, "LEAST_PARAMETERS", 20_000_000)
    assert not pack_encoder(model, "fp32")
    assert not any(isinstance(module, packed_weights.PackedLinear) for module in model.modules())


def test_a_cpu_without_such_products_keeps_the_plain_layers(model, monkeypatch) -> None:
    monkeypatch.setattr(packed_weights, "cpu_has_bf16", lambda: False)
    assert not pack_encoder(model, "bf16")
    monkeypatch.setattr(packed_weights, "cpu_has_avx512", lambda: False)
    assert not pack_encoder(model, "fp32")
    monkeypatch.setattr(packed_weights, "cpu_has_avx512", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not pack_encoder(model, "fp32")
