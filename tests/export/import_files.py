"""What tests of importing labels share: an abdomen and a head on frames of 96 x 120, and how they are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from export_files import SHAPE, ellipse, stored

ABDOMEN = ellipse(1) > 0
HEAD = np.zeros(SHAPE[1:], bool)
HEAD[10:30, 5:25] = True
BOX = np.zeros(SHAPE[1:], bool)
BOX[28:72, 30:90] = True
BOX_CORNERS = [30, 28, 90, 28, 90, 72, 30, 72]
HEAD_CORNERS = [5, 10, 25, 10, 25, 30, 5, 30]


def values(**inside: tuple[int, np.ndarray]) -> np.ndarray:
    """A mask of values, from what is where."""
    picture = np.zeros(SHAPE[1:], np.uint8)
    for value, where in inside.values():
        picture[where] = value
    return picture


def runs_of(mask: np.ndarray, order: str = "F") -> list[int]:
    """Run lengths, the first outside; the mask's own corner must be outside."""
    flat = mask.ravel(order=order)
    borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return np.diff(np.concatenate(([0], borders, [flat.size]))).tolist()


def masks_alone(served: Path, frame: int, inside: np.ndarray) -> None:
    """Check that one frame of alpha is annotated, and how."""
    masks, frames = stored(served)
    assert [number for number, label in frames.items() if label.state == "annotated"] == [frame]
    assert np.array_equal(masks[frame] > 0, inside)
