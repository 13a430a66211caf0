"""Training frames on the model's square grid, grouped by case."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from fetaliqa.measure.square_grid import GRID, SquareGrid
from fetaliqa.training.mapped_arrays import MappedFile, as_file

CONVERT_CHUNK = 64  # frames resampled at a time, so that float temporaries stay small


@dataclass
class Batch:
    """A batch of frames with outlines and weights.

    Attributes:
        images: uint8 [n, S, S] on the square grid.
        outlines: float [n, S, S], 1 inside the outline.
        weights: float [n], frequency of such frames in sweeps relative to batches; None: all 1.
    """

    images: torch.Tensor
    outlines: torch.Tensor
    weights: torch.Tensor | None = None


@dataclass
class FrameSet:
    """Frames with their outlines, ready to be batched.

    Attributes:
        images: uint8 [N, S, S] on the square grid; S is 224 for FetalCLIP.
        outline_bits: uint8 [N, S * S / 8], the target masks, one bit per pixel.
        grades: uint8 [N]: 0 no outline, 1 optimal plane, 2 suboptimal plane.
        hard: bool [N]: a hard negative, close to a positive frame.
        weights: float [N]: how many frames of its sweep a frame represents, where negatives were sampled.
        cases: int [N], case number; the unit of every split.
    """

    images: np.ndarray
    outline_bits: np.ndarray
    grades: np.ndarray
    hard: np.ndarray
    weights: np.ndarray
    cases: np.ndarray

    def __getstate__(self) -> dict[str, object]:
        """Pickles paths of memory-mapped arrays, so that loader processes map them too."""
        return {field.name: as_file(getattr(self, field.name)) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value.open() if isinstance(value, MappedFile) else value)

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
        return Batch(torch.from_numpy(self.images[chosen]), torch.from_numpy(self.outlines(chosen)).float())


def frames_of_case(
    frames: np.ndarray,
    masks: np.ndarray,
    *,
    hard: np.ndarray,
    case: int,
    weights: np.ndarray | None = None,
    size: int = GRID,
) -> FrameSet:
    """A FrameSet from native frames.

    Args:
        frames: uint8 [N, H, W].
        masks: uint8 [N, H, W]; 0, 1 (optimal) or 2 (suboptimal).
        hard: bool [N], see :class:`FrameSet`.
        case: case number.
        weights: float [N], see :class:`FrameSet`; 1 by default.
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
    )


def join(parts: Iterable[FrameSet]) -> FrameSet:
    """Several FrameSets as one."""
    parts = list(parts)
    names = [field.name for field in fields(FrameSet)]
    return FrameSet(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
