"""Training frames on the model's square grid, grouped by case."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import torch

from fetaliqa.geometry import GRID, SquareGrid

TISSUE_GRID = 56  # cells along one side of a tissue map: 4 x 4 for each patch of the demo encoder
CONVERT_CHUNK = 64  # frames resampled at a time, so that float temporaries stay small


@dataclass
class Batch:
    """Frames and what is known of them.

    Attributes:
        images: uint8 [n, S, S] on the square grid.
        outlines: float [n, S, S], 1 inside the outline.
        tissues: int64 [n, 56, 56] tissue numbers, or None where they are not known.
        weights: float [n], how much more often such frames occur in sweeps than in batches; None: as often.
    """

    images: torch.Tensor
    outlines: torch.Tensor
    tissues: torch.Tensor | None = None
    weights: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        tissues = None if self.tissues is None else self.tissues.to(device)
        weights = None if self.weights is None else self.weights.to(device)
        return Batch(self.images.to(device), self.outlines.to(device), tissues, weights)


@dataclass
class FrameSet:
    """Frames with their outlines, ready to be batched.

    Attributes:
        images: uint8 [N, S, S] on the square grid; S is 224 for FetalCLIP.
        outline_bits: uint8 [N, S * S / 8], the target masks, one bit per pixel.
        grades: uint8 [N]: 0 no outline, 1 optimal plane, 2 suboptimal plane.
        hard: bool [N]: a negative that is easily taken for a positive.
        weights: float [N]: how many frames of its sweep a frame stands for, where negatives were sampled.
        cases: int [N], case number; the unit of every split.
        tissues: uint8 [N, 56, 56], tissue numbers, or [N, 0, 0] where they are not known.
    """

    images: np.ndarray
    outline_bits: np.ndarray
    grades: np.ndarray
    hard: np.ndarray
    weights: np.ndarray
    cases: np.ndarray
    tissues: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Side S of the square grid."""
        return int(self.images.shape[-1])

    def content_hash(self) -> str:
        """SHA-256 (hex) of pictures and outlines."""
        digest = hashlib.sha256()
        for array in (self.images, self.outline_bits):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def outlines(self, chosen: np.ndarray) -> np.ndarray:
        """Target masks uint8 [n, S, S] of the chosen frames."""
        return np.unpackbits(self.outline_bits[chosen], axis=1).reshape(-1, self.size, self.size)

    def batch(self, chosen: np.ndarray) -> Batch:
        """The chosen frames."""
        tissues = torch.from_numpy(self.tissues[chosen]).long() if self.tissues.size else None
        return Batch(
            torch.from_numpy(self.images[chosen]), torch.from_numpy(self.outlines(chosen)).float(), tissues
        )


def frames_of_case(
    frames: np.ndarray,
    masks: np.ndarray,
    *,
    hard: np.ndarray,
    case: int,
    weights: np.ndarray | None = None,
    tissues: np.ndarray | None = None,
    size: int = GRID,
) -> FrameSet:
    """A FrameSet from native frames.

    Args:
        frames: uint8 [N, H, W].
        masks: uint8 [N, H, W]; 0, 1 (optimal) or 2 (suboptimal).
        hard: bool [N], see :class:`FrameSet`.
        case: case number.
        weights: float [N], see :class:`FrameSet`; 1 by default.
        tissues: uint8 [N, H, W] tissue numbers, when known.
        size: side of the square grid, pixels; a multiple of 4.
    """
    grid = SquareGrid(frames.shape[1], frames.shape[2], size)
    images = np.empty((len(frames), size, size), np.uint8)
    bits = np.empty((len(frames), size * size // 8), np.uint8)
    for start in range(0, len(frames), CONVERT_CHUNK):
        part = slice(start, start + CONVERT_CHUNK)
        images[part] = grid.to_square(frames[part]).numpy()
        bits[part] = np.packbits(grid.mask_to_square(masks[part]).reshape(len(images[part]), -1), axis=1)
    return FrameSet(
        images,
        bits,
        masks.reshape(len(masks), -1).max(axis=1).astype(np.uint8),
        hard.astype(bool),
        np.ones(len(frames), np.float32) if weights is None else weights.astype(np.float32),
        np.full(len(frames), case, np.int64),
        np.zeros((len(frames), 0, 0), np.uint8) if tissues is None else _tissue_map(tissues, grid),
    )


def _tissue_map(tissues: np.ndarray, grid: SquareGrid) -> np.ndarray:
    """The tissue at the centre of each cell of the tissue grid, uint8 [N, 56, 56]; 0 in the padding."""
    side = grid.side
    square = np.zeros((len(tissues), side, side), np.uint8)
    square[:, grid.top : grid.top + grid.height, grid.left : grid.left + grid.width] = tissues
    centres = ((np.arange(TISSUE_GRID) + 0.5) * side / TISSUE_GRID).astype(int)
    return square[:, centres[:, None], centres[None, :]]


def join(parts: Iterable[FrameSet]) -> FrameSet:
    """Several FrameSets as one."""
    parts = list(parts)
    names = [field.name for field in fields(FrameSet)]
    return FrameSet(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class BalancedBatches:
    """Endless batches of frame numbers with fixed shares of positives, hard negatives and others.

    Annotated frames are about 3 % of a sweep; drawn evenly, most batches would hold one or none.

    Args:
        frames: to draw from.
        batch_size: frames per batch.
        seed: makes the sequence repeatable.
        positive_share: share of frames with an outline.
        hard_share: share of hard negatives; the rest are other negatives.

    Attributes:
        weights: float [batch_size], for each place in a batch how much more often such frames occur in sweeps;
            their mean is 1.
    """

    def __init__(
        self,
        frames: FrameSet,
        batch_size: int,
        seed: int,
        *,
        positive_share: float = 0.5,
        hard_share: float = 0.25,
    ) -> None:
        self._random = np.random.default_rng(seed)
        positive = frames.grades > 0
        if not positive.any():
            raise ValueError("no frame with an outline to train on")
        positives, hard = round(batch_size * positive_share), round(batch_size * hard_share)
        pools = [
            (np.flatnonzero(positive), positives),
            (np.flatnonzero(~positive & frames.hard), hard),
            (np.flatnonzero(~positive & ~frames.hard), batch_size - positives - hard),
        ]
        self._pools = [(pool, count) for pool, count in pools if len(pool) and count]
        self._orders = [self._random.permutation(pool) for pool, _ in self._pools]

        drawn = sum(count for _, count in self._pools)
        stand_for = [float(frames.weights[pool].sum()) for pool, _ in self._pools]
        self.weights = np.concatenate(
            [
                np.full(count, part / sum(stand_for) * drawn / count)
                for part, (_, count) in zip(stand_for, self._pools)
            ]
        )

    def __next__(self) -> np.ndarray:
        chosen = []
        for number, (pool, count) in enumerate(self._pools):
            while len(self._orders[number]) < count:
                self._orders[number] = np.concatenate([self._orders[number], self._random.permutation(pool)])
            chosen.append(self._orders[number][:count])
            self._orders[number] = self._orders[number][count:]
        return np.concatenate(chosen)
