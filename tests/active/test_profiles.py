"""Profiles: what they say of frames, and how they are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pools import random_profile

from fetaliqa.active.frame_profiles import ProfileFolder
from fetaliqa.inference.frame_profile import (
    EMBEDDING_SIZE,
    FrameProfile,
    ProfileMaker,
    binary_entropy,
    embed,
    likeliest_pixels,
    outline_uncertainty,
)


def disc(sharpness: float, side: int = 64) -> torch.Tensor:
    """Probabilities of a disc whose edge is as sharp as told, [1, S, S]."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    radius = ((row - side / 2) ** 2 + (column - side / 2) ** 2).sqrt()
    return torch.sigmoid(sharpness * (side / 4 - radius))[None]


def uncertainty(probabilities: torch.Tensor, min_pixels: int) -> torch.Tensor:
    return outline_uncertainty(probabilities, likeliest_pixels(probabilities, min_pixels))


def test_entropy_is_symmetric() -> None:
    assert binary_entropy(torch.tensor(0.5)) == pytest.approx(1.0)
    assert binary_entropy(torch.tensor(0.1)) == pytest.approx(float(binary_entropy(torch.tensor(0.9))), abs=1e-6)
    assert binary_entropy(torch.tensor([0.0, 1.0])).max() < 1e-4


def test_uncertainty_is_of_the_boundary_not_of_the_size() -> None:
    sharp, blurred = uncertainty(disc(5.0), 40), uncertainty(disc(0.5), 40)
    assert sharp < 0.3 < 0.6 < blurred
    # the same edge of an outline half as large: an average over the picture would have halved
    small = disc(0.5)[:, ::2, ::2]
    assert uncertainty(small, 40) == pytest.approx(float(uncertainty(disc(1.0, 32), 40)), abs=0.05)


def test_without_a_mask_the_likeliest_pixels_count() -> None:
    picture = torch.full((2, 32, 32), 0.001)
    picture[0, :4, :10] = 0.45
    values = uncertainty(picture, 40)
    assert values[0] == pytest.approx(float(binary_entropy(torch.tensor(0.45))), abs=1e-4)
    assert values[1] < 0.02


def test_presence_is_of_as_many_pixels_as_a_positive_frame_needs() -> None:
    picture = torch.zeros(1, 16, 16)
    picture[0, :2, :10] = 0.8
    for min_pixels, presence in ((20, 0.8), (40, 0.4)):
        maker = ProfileMaker(min_pixels)
        maker.add(np.array([0]), picture, torch.rand(1, 96))
        profile = maker.profile()
        assert profile is not None
        assert profile.presence == pytest.approx(presence)


def test_embeddings_keep_distances() -> None:
    torch.manual_seed(0)
    features = torch.randn(30, 1024)
    features[:, 7] += 1000  # a channel of a vision transformer that outweighs all others
    wide, narrow = torch.cdist(features[:, :7], features[:, :7]), embed(features)
    assert narrow.shape == (30, EMBEDDING_SIZE)
    assert torch.equal(embed(features), narrow)
    full = torch.nn.functional.layer_norm(features, (1024,)).clamp(-3, 3)
    ratio = torch.pdist(narrow) / torch.pdist(full)
    assert 0.6 < ratio.min() < ratio.max() < 1.4
    assert wide.max() > 0


def test_profiles_are_put_in_order() -> None:
    maker = ProfileMaker(4)
    assert maker.profile() is None
    for numbers in ([6, 7], [1]):
        maker.add(np.array(numbers), torch.rand(len(numbers), 16, 16), torch.rand(len(numbers), 96))
    profile = maker.profile()
    assert profile is not None
    assert profile.frames.tolist() == [1, 6, 7]
    again = FrameProfile.from_arrays(profile.arrays())
    assert again is not None
    assert np.array_equal(again.embedding, profile.embedding)


def test_kept_and_read_back(tmp_path: Path) -> None:
    folder = ProfileFolder(tmp_path, "a" * 64)
    profile = random_profile("case-1", 1)
    assert folder.read("case-1") is None
    assert folder.files() == {}
    folder.write(profile)
    again = folder.read("case-1")
    assert again is not None
    assert again.ranges == profile.ranges
    for name in ("quality", "positive"):
        assert np.array_equal(getattr(again, name), getattr(profile, name))
    for name, value in profile.profile.arrays().items():
        assert np.array_equal(again.profile.arrays()[name], value)
    assert list(folder.files()) == ["case-1"]


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "pickle", "other case"])
def test_a_damaged_profile_is_none(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = ProfileFolder(tmp_path, "b" * 64)
    folder.write(random_profile("case-1", 1))
    path = folder.path("case-1")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-300])
    elif damage == "pickle":
        np.savez(path, told=np.array([{"schema": 1}], dtype=object))
    elif damage == "other case":
        path.rename(folder.path("case-2"))
        assert folder.read("case-2") is None
        return
    else:
        path.write_text("" if damage == "empty" else "no archive")
    assert folder.read("case-1") is None
    assert "score the case again" in caplog.text
