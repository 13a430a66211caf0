"""The reference of a compact model: what is far from its training images is called so, also after saving."""

import numpy as np
import pytest
import torch
from bundle_cards import a_card
from test_compact import SMALL

from fetaliqa.errors import TrainingError
from fetaliqa.inference.predictor import Predictor
from fetaliqa.model import CompactSeg, build_segmentation, normalise, save_bundle
from fetaliqa.model.feature_reference import _gaussian, fit_reference


@pytest.fixture
def model() -> CompactSeg:
    torch.manual_seed(3)
    built = build_segmentation(SMALL, random_init=True, encoder="full")
    assert isinstance(built, CompactSeg)
    return built


def dark(count: int, seed: int = 0) -> np.ndarray:
    """Faint noise: what the model is to know."""
    return np.random.default_rng(seed).integers(0, 30, (count, 64, 64), dtype=np.uint8)


def stripes(count: int) -> np.ndarray:
    """Bright stripes: nothing like it."""
    frames = np.zeros((count, 64, 64), np.uint8)
    frames[:, ::8] = frames[:, 1::8] = np.arange(200, 200 + count, dtype=np.uint8)[:, None, None]
    return frames


def test_what_is_unlike_the_training_images_is_beyond_the_limit_and_others_are_not(model, tmp_path):
    model.train()
    fit_reference(model, [dark(60), torch.from_numpy(dark(60, 1))], share_beyond=0.05)
    assert model.training
    with torch.inference_mode():
        own = model.decoder.reference(model.eval().reference_features(_images(dark(200, 2))))
        other = model.decoder.reference(model.reference_features(_images(stripes(5))))
    assert 0.5 < own.median() < 1
    assert (own >= 1).float().mean() < 0.15
    assert (other > 1.5).all()
    # 16 bits are enough: what is read again tells nearly the same distances
    saved = save_bundle(model, a_card(model), tmp_path / "bundle")
    assert saved.tensors("head.safetensors")["reference.whitening"].abs().max() > 0
    chunks = Predictor(saved, "cpu").predict(np.concatenate([dark(20, 3), stripes(5)]), np.arange(25))
    with torch.inference_mode():
        images = _images(np.concatenate([dark(20, 3), stripes(5)]))
        before = model.decoder.reference(model.reference_features(images))
    after = torch.cat([chunk.signals[:, 1] for chunk in chunks])
    assert torch.allclose(after, before, rtol=0.02)
    assert (after[20:] > 1.5).all()


def test_a_reference_in_16_bits_tells_the_same_distances(model):
    """Also where variances of directions are a million times apart, as correlated features have them."""
    random = np.random.default_rng(0)
    channels = len(model.decoder.reference.mean)
    spread = np.logspace(0, -3, channels)
    turned = np.linalg.qr(random.standard_normal((channels, channels)))[0]
    points = random.standard_normal((2000, channels)) * spread @ turned.T
    mean, whitening = _gaussian(points)
    reference = model.decoder.reference
    reference.mean.copy_(torch.from_numpy(mean))
    reference.limit.fill_(1.0)
    distances = []
    for stored in (torch.from_numpy(whitening).float(), torch.from_numpy(whitening).half().float()):
        reference.whitening.copy_(stored)
        distances.append(reference(torch.from_numpy(points)))
    assert torch.allclose(distances[1], distances[0], rtol=0.002)
    assert distances[0].median() > 3  # of 64 directions, those that shrinkage leaves


@pytest.mark.parametrize(
    ("squares", "sentence"),
    [
        ([], "0 images .*at least 20"),
        ([dark(19)], "19 images"),
        ([np.zeros((30, 64, 64), np.uint8)], "different training images"),
    ],
)
def test_images_that_a_reference_cannot_be_fitted_to_are_refused_and_change_nothing(model, squares, sentence):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(TrainingError, match=sentence):
        fit_reference(model, squares)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def _images(frames: np.ndarray) -> torch.Tensor:
    return normalise(frames)
