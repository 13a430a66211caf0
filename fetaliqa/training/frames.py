"""Training frames on the model's square grid, grouped by case."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from fetaliqa.geometry import GRID, SquareGrid

NEAR_FRAMES = 12  # frames; a negative this close to an annotated run is a hard one
CONVERT_CHUNK = 64  # frames resampled at a time, so that float temporaries stay small


@dataclass
class FrameSet:
    """Frames with their outlines, ready to be batched.

    Attributes:
        images: uint8 [N, 224, 224] on the square grid.
        outline_bits: uint8 [N, 224 * 28], the target masks, one bit per pixel.
        grades: uint8 [N]: 0 no outline, 1 optimal plane, 2 suboptimal plane.
        near: bool [N]: a negative within ``NEAR_FRAMES`` of an annotated frame of its sweep.
        cases: int [N], case number; the unit of every split.
    """

    images: np.ndarray
    outline_bits: np.ndarray
    grades: np.ndarray
    near: np.ndarray
    cases: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def outlines(self, chosen: np.ndarray) -> np.ndarray:
        """Target masks uint8 [n, 224, 224] of the chosen frames."""
        return np.unpackbits(self.outline_bits[chosen], axis=1).reshape(-1, GRID, GRID)

    def batch(self, chosen: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Images uint8 [n, 224, 224] and targets float [n, 224, 224] of the chosen frames."""
        return torch.from_numpy(self.images[chosen]), torch.from_numpy(self.outlines(chosen)).float()


def frames_of_case(frames: np.ndarray, masks: np.ndarray, near: np.ndarray, case: int) -> FrameSet:
    """A FrameSet from native frames.

    Args:
        frames: uint8 [N, H, W].
        masks: uint8 [N, H, W]; 0, 1 (optimal) or 2 (suboptimal).
        near: bool [N], see :class:`FrameSet`.
        case: case number.
    """
    grid = SquareGrid(frames.shape[1], frames.shape[2])
    images = np.empty((len(frames), GRID, GRID), np.uint8)
    bits = np.empty((len(frames), GRID * GRID // 8), np.uint8)
    for start in range(0, len(frames), CONVERT_CHUNK):
        part = slice(start, start + CONVERT_CHUNK)
        images[part] = grid.to_square(frames[part]).numpy()
        bits[part] = np.packbits(grid.mask_to_square(masks[part]).reshape(len(images[part]), -1), axis=1)
    grades = masks.reshape(len(masks), -1).max(axis=1).astype(np.uint8)
    return FrameSet(images, bits, grades, near.astype(bool), np.full(len(frames), case, np.int64))


def join(parts: Iterable[FrameSet]) -> FrameSet:
    """Several FrameSets as one."""
    parts = list(parts)
    return FrameSet(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("images", "outline_bits", "grades", "near", "cases")
        )
    )


class BalancedBatches:
    """Endless batches of frame numbers: half with an outline, a quarter hard negatives, a quarter others.

    Annotated frames are about 3 % of a sweep; drawn evenly, most batches would hold one or none.

    Args:
        grades: uint8 [N], 0 for a negative.
        near: bool [N], hard negatives.
        batch_size: frames per batch.
        seed: makes the sequence repeatable.
    """

    def __init__(self, grades: np.ndarray, near: np.ndarray, batch_size: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        positive = np.flatnonzero(grades > 0)
        hard = np.flatnonzero((grades == 0) & near)
        easy = np.flatnonzero((grades == 0) & ~near)
        pools = [
            (positive, batch_size // 2),
            (hard, batch_size // 4),
            (easy, batch_size - batch_size // 2 - batch_size // 4),
        ]
        self._pools = [(pool, count) for pool, count in pools if len(pool)]
        if not len(positive):
            raise ValueError("no frame with an outline to train on")
        self._orders = [self._random.permutation(pool) for pool, _ in self._pools]

    def __next__(self) -> np.ndarray:
        chosen = []
        for number, (pool, count) in enumerate(self._pools):
            while len(self._orders[number]) < count:
                self._orders[number] = np.concatenate([self._orders[number], self._random.permutation(pool)])
            chosen.append(self._orders[number][:count])
            self._orders[number] = self._orders[number][count:]
        return np.concatenate(chosen)
