"""Native grid -> 224 square -> native grid."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fetaliqa.measure.square_grid import GRID, SquareGrid, _resize_rounding_between_passes


def reference_square(frame: np.ndarray) -> np.ndarray:
    """The published definition, one frame at a time with Pillow: centred zero pad, bicubic resize."""
    height, width = frame.shape
    side = max(height, width)
    padded = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    padded[top : top + height, left : left + width] = frame
    return np.asarray(Image.fromarray(padded).resize((GRID, GRID), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("shape", [(562, 744), (281, 372), (224, 224), (301, 97), (90, 131), (1000, 1001)])
def test_preprocessing_equals_the_reference_definition_within_one_grey_level(shape):
    frames = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    squares = SquareGrid(*shape).to_square(frames).numpy()
    expected = np.stack([reference_square(frame) for frame in frames])
    assert np.abs(squares.astype(int) - expected.astype(int)).max() <= 1


def test_preprocessing_of_a_real_frame_equals_the_reference_within_one_grey_level(shared_data):
    frame = np.asarray(Image.open(shared_data / "acouslic" / "native_frame_A.png").convert("L"))
    square = SquareGrid(*frame.shape).to_square(frame[None]).numpy()[0]
    assert np.abs(square.astype(int) - reference_square(frame).astype(int)).max() <= 1


def test_the_path_used_on_cuda_equals_the_cpu_path_within_one_grey_level():
    frames = np.random.default_rng(1).integers(0, 256, (2, 281, 372), dtype=np.uint8)
    grid = SquareGrid(281, 372)
    padded = grid._pad(torch.from_numpy(frames)[:, None])
    on_cuda = _resize_rounding_between_passes(padded, GRID)[:, 0]
    assert (on_cuda.int() - grid.to_square(frames).int()).abs().max() <= 1


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(64, 700),
    width=st.integers(64, 900),
    share=st.floats(0.011, 0.25),
    ratio=st.floats(0.6, 1.0),
    angle=st.floats(0, 180),
)
def test_a_mask_of_one_percent_and_more_survives_the_round_trip(height, width, share, ratio, angle):
    """Share is of the 224 x 224 grid's area, as in the paper's frame rule."""
    side = max(height, width)
    semi_major = np.sqrt(share * side * side / (np.pi * ratio))
    mask = np.zeros((height, width), np.uint8)
    axes = (round(semi_major), round(semi_major * ratio))
    cv2.ellipse(mask, (width // 2, height // 2), axes, angle, 0, 360, 1, cv2.FILLED)
    if mask.sum() < 0.01 * side * side:  # the ellipse was cut by a narrow frame
        return
    grid = SquareGrid(height, width)
    back = grid.masks_to_native(grid.share_to_square(mask[None]))[0]
    assert 2 * (mask & back).sum() / (mask.sum() + back.sum()) >= 0.99


def test_frames_of_another_size_are_refused():
    with pytest.raises(ValueError, match="this grid takes"):
        SquareGrid(10, 20).to_square(np.zeros((1, 20, 10), np.uint8))
