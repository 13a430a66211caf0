"""Batch norms folded and convolutions laid out for oneDNN: the compact model answers as its plain layers do."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from fetaliqa.inference.packed_convolutions import PackedConv, pack_convolutions
from fetaliqa.inference.predictor import Predictor
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model import Architecture, Bundle, CompactSeg, build_segmentation, normalise
from fetaliqa.model.architecture import BACKBONES, BackboneConfig, PyramidConfig
from fetaliqa.model.decoder import fuse_batch_norms
from fetaliqa.registry.model_store import resolve_bundle
from fetaliqa.sweep import read_sweep

ROUNDING = 1e-3  # of the largest value; group norms of tiny maps magnify it
SIDE = 64


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def model(request) -> CompactSeg:
    """Random weights, with norms as after some training."""
    torch.manual_seed(4)
    architecture = Architecture("small", BackboneConfig(SIDE, request.param), PyramidConfig(32, 32, 16))
    built = build_segmentation(architecture, random_init=True, encoder="full").eval()
    for part in built.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(std=0.2)
            part.running_var.uniform_(0.3, 2.0)
            part.weight.data.uniform_(0.5, 2.0)
            part.bias.data.normal_(std=0.5)
    return built.requires_grad_(False)


def assert_alike(one: CompactSeg, other: CompactSeg, count: int = 3) -> None:
    frames = torch.randint(0, 256, (count, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours, theirs = (each.outputs(normalise(frames.to(torch.uint8))) for each in (one, other))
    for found, expected in zip([*ours[:-1], *ours.maps], [*theirs[:-1], *theirs.maps], strict=True):
        assert (found - expected).abs().max() < ROUNDING * (expected.abs().max() + 0.1)


def parts_of(model: nn.Module, kind: type) -> list[nn.Module]:
    return [part for part in model.modules() if isinstance(part, kind)]


def test_batch_norms_are_folded_into_the_convolutions_before_them(model) -> None:
    folded = copy.deepcopy(model)
    fuse_batch_norms(folded)
    assert parts_of(model, nn.BatchNorm2d)
    assert not parts_of(folded, nn.BatchNorm2d)
    assert_alike(folded, model)


def test_packed_convolutions_answer_as_the_plain_ones_for_any_number_of_frames(model) -> None:
    packed = copy.deepcopy(model)
    fuse_batch_norms(packed)
    if not pack_convolutions(packed, 4):
        pytest.skip("this PyTorch has no oneDNN convolutions")
    assert not parts_of(packed, nn.Conv2d)
    for count in (1, 4, 5):
        assert_alike(packed, model, count)


def test_activations_are_made_with_the_convolution_before_them(model) -> None:
    packed = copy.deepcopy(model)
    fuse_batch_norms(packed)
    if not pack_convolutions(packed, 1):
        pytest.skip("this PyTorch has no oneDNN convolutions")
    assert not parts_of(packed.visual, (nn.ReLU, nn.ReLU6))  # type: ignore[arg-type]


def test_without_onednn_the_plain_convolutions_stay(model, monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    plain = copy.deepcopy(model)
    assert not pack_convolutions(plain, 4)
    assert not parts_of(plain, PackedConv)


def test_the_shipped_model_draws_the_same_masks_on_real_stills(sample_data) -> None:
    bundle = Bundle.open(resolve_bundle("abdomen"))
    plain, predictor = bundle.load_model(merge=False), Predictor(bundle, "cpu")
    shown = 0
    for still in sorted(sample_data.rglob("*_plane*.png")):
        frames = read_sweep(still).frames
        grid = SquareGrid(*frames.shape[1:])
        with torch.inference_mode():
            expected = torch.sigmoid(plain(normalise(grid.to_square(frames))))[:, 0]
        (chunk,) = predictor.predict(frames, np.arange(1))
        assert (chunk.probabilities - expected).abs().max() < 1e-4
        found, masks = (
            grid.masks_to_native(each, bundle.card.threshold.probability)
            for each in (chunk.probabilities, expected)
        )
        assert np.count_nonzero(found != masks) <= 1e-4 * masks.size  # on a boundary rounding may tip a pixel
        shown += masks.any()
    assert shown > 2
