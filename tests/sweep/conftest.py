"""Small stacks that behave like blind sweeps."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def frames() -> np.ndarray:
    """12 frames of 30 x 40, all different, none black."""
    return np.random.default_rng(7).integers(0, 256, (12, 30, 40), dtype=np.uint8)


@pytest.fixture
def two_sweeps() -> np.ndarray:
    """Two sweeps of 20 slots: 14 and 15 frames with an image, then a black tail."""
    stack = np.random.default_rng(8).integers(0, 256, (40, 16, 24), dtype=np.uint8)
    stack[14:20] = 0
    stack[35:40] = 0
    return stack
