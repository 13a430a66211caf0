from __future__ import annotations

import numpy as np
import pytest
import torch

from fetaliqa.model import Preprocessing, Threshold, normalise


def test_normalisation_is_open_clips():
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    got = normalise(frames)
    assert got.shape == (3, 3, 8, 8)
    assert got.dtype == torch.float32
    for channel in range(3):
        expected = (frames / 255.0 - OPENAI_DATASET_MEAN[channel]) / OPENAI_DATASET_STD[channel]
        assert np.allclose(got[:, channel].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("wrong", [np.zeros((2, 8, 8), np.float32), np.zeros((8, 8), np.uint8)])
def test_frames_that_are_not_8_bit_stacks_are_refused(wrong):
    with pytest.raises(ValueError, match="uint8"):
        normalise(wrong)


def test_other_statistics_are_refused():
    with pytest.raises(ValueError, match="mean"):
        Preprocessing(mean=(0.5, 0.5, 0.5))


def test_a_frame_is_positive_from_502_pixels_on():
    assert Threshold().min_foreground_pixels() == 502
    assert Threshold(min_foreground_fraction=0.0).min_foreground_pixels() == 1
