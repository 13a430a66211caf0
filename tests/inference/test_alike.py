"""Frames that look alike are encoded once, and only those."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fetaliqa.inference import Predictor
from fetaliqa.inference.duplicate_frames import TOLERANCE, DuplicateFrames


def squares(*levels: int) -> torch.Tensor:
    """Flat pictures of these grey levels, uint8 [N, 4, 4]."""
    return torch.tensor(levels, dtype=torch.uint8)[:, None, None].expand(-1, 4, 4).contiguous()


def test_equal_frames_are_encoded_once_also_over_batches() -> None:
    alike = DuplicateFrames()
    assert alike.sources(squares(9, 9, 50, 50, 9)) == ([0, 2, 4], [1, 1, 2, 2, 3])
    assert alike.sources(squares(9, 9, 200)) == ([2], [0, 0, 1])
    assert alike.sources(squares(200, 200)) == ([], [0, 0])


def test_a_slow_movement_does_not_add_up() -> None:
    levels = [0, TOLERANCE, 2 * TOLERANCE, 3 * TOLERANCE]  # each as the one before
    assert DuplicateFrames().sources(squares(*levels)) == ([0, 2], [1, 1, 2, 2])


def test_one_pixel_that_differs_makes_another_frame() -> None:
    two = squares(250, 250)
    two[1, 2, 3] = 3  # also where the difference of uint8 would wrap around
    assert DuplicateFrames().sources(two)[0] == [0, 1]


@pytest.mark.parametrize("kind", ["random_bundle", "random_classifier"])
def test_the_model_sees_a_frozen_picture_once(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(request.getfixturevalue(kind), "cpu", batch_size=4)
    single = np.random.default_rng(0).integers(0, 255, (3, 60, 80)).astype(np.uint8)
    frames = single[[0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 0]]
    given: list[int] = []
    forward = predictor._forward
    monkeypatch.setattr(predictor, "_forward", lambda some: (given.append(len(some)), forward(some))[1])
    chunks = list(predictor.predict(frames, np.arange(11)))
    assert given == [2, 2]  # of the second batch none
    assert [chunk.indices.tolist() for chunk in chunks] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    apart = [next(predictor.predict(frames, np.array([frame]))) for frame in range(11)]
    name = "probabilities" if predictor.is_segmentation else "scores"
    got = np.concatenate([np.asarray(getattr(chunk, name)) for chunk in chunks])
    expected = np.concatenate([np.asarray(getattr(chunk, name)) for chunk in apart])
    assert np.abs(got - expected).max() < 1e-5
    if predictor.is_segmentation:
        looks = torch.cat([chunk.appearance for chunk in chunks])
        assert torch.allclose(looks, torch.cat([chunk.appearance for chunk in apart]), atol=1e-5)
