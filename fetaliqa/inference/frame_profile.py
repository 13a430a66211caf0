"""Frame profiles: inputs of active learning, computed from the model outputs of an assessment.

Three values per frame, small enough to store for every frame of every case: presence of the anatomy, uncertainty
    of
the outline, and an embedding of the frame's appearance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

BAND_PIXELS = 3  # on each side of the outline, on the square grid
MASK_PROBABILITY = 0.5  # where binary entropy is largest, independent of a bundle's threshold
EMBEDDING_SIZE = 64
CLIP = 3.0  # standard deviations; a few channels of a vision transformer would outweigh all others
PREFIX = "profile_"  # of the arrays' names in a cache entry


@dataclass(frozen=True, eq=False)
class FrameProfile:
    """Profiles of the assessed frames of a case.

    Attributes:
        frames: int32 [N], frame numbers.
        presence: float32 [N], mean probability of the most probable pixels, as many as a positive frame needs.
        uncertainty: float32 [N], 0 to 1 bit, see :func:`outline_uncertainty`.
        embedding: float16 [N, D], see :func:`embed`; similar frames have close vectors.
    """

    frames: np.ndarray
    presence: np.ndarray
    uncertainty: np.ndarray
    embedding: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by their names in a file."""
        return {f"{PREFIX}{name}": value for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> FrameProfile | None:
        """The inverse of :meth:`arrays`; None if arrays are missing or their shapes do not match."""
        try:
            profile = cls(*(arrays[f"{PREFIX}{name}"] for name in cls.__dataclass_fields__))
        except KeyError:
            return None
        count = len(profile.frames)
        fits = profile.embedding.shape == (count, EMBEDDING_SIZE) and all(
            values.shape == (count,) for values in (profile.frames, profile.presence, profile.uncertainty)
        )
        return profile if fits else None


class ProfileMaker:
    """Builds a profile batch by batch.

    Args:
        min_pixels: foreground pixels that make a frame positive.
    """

    def __init__(self, min_pixels: int) -> None:
        self._min_pixels = min_pixels
        self._parts: list[tuple[np.ndarray, ...]] = []

    def add(self, frames: np.ndarray, probabilities: torch.Tensor, appearance: torch.Tensor) -> None:
        """Add frames: numbers int [n], probabilities [n, S, S], appearance [n, C]."""
        likeliest = likeliest_pixels(probabilities, self._min_pixels)
        figures = [
            values.float().cpu().numpy().astype(np.float32)
            for values in (likeliest.mean(dim=1), outline_uncertainty(probabilities, likeliest))
        ]
        self._parts.append((frames.astype(np.int32), *figures, embed(appearance).cpu().numpy().astype(np.float16)))

    def profile(self) -> FrameProfile | None:
        """The profile of all added frames, ordered by number; None without any."""
        if not self._parts:
            return None
        columns = [np.concatenate(column) for column in zip(*self._parts)]
        order = np.argsort(columns[0], kind="stable")
        return FrameProfile(*(column[order] for column in columns))


def likeliest_pixels(probabilities: torch.Tensor, min_pixels: int) -> torch.Tensor:
    """float [n, min_pixels]: the highest pixel probabilities of [n, S, S]."""
    return probabilities.flatten(1).topk(min_pixels, dim=1).values


def outline_uncertainty(probabilities: torch.Tensor, likeliest: torch.Tensor) -> torch.Tensor:
    """Mean binary entropy, in bits, over the boundary band of the predicted mask.

    Averaged over the whole image, the entropy of a small outline would be hidden by the background, and a large
    outline would look uncertain for its length alone. A frame without a mask has no boundary; its entropy is
    averaged over its most probable pixels instead.

    Args:
        probabilities: float [n, S, S].
        likeliest: float [n, P], see :func:`likeliest_pixels`; P foreground pixels make a frame positive.

    Returns:
        float [n], 0 to 1.
    """
    import torch

    uncertainty = binary_entropy(likeliest).mean(dim=1)
    masks = probabilities > MASK_PROBABILITY
    with_mask = torch.nonzero(masks.flatten(1).sum(dim=1) >= likeliest.shape[1])[:, 0]
    if len(with_mask):  # most frames of a sweep have no boundary
        mask = masks[with_mask].float()
        band = _widened(mask) - (1 - _widened(1 - mask))
        entropy = binary_entropy(probabilities[with_mask])
        uncertainty[with_mask] = (entropy * band).sum(dim=(1, 2)) / band.sum(dim=(1, 2)).clamp(min=1)
    return uncertainty


def _widened(masks: torch.Tensor) -> torch.Tensor:
    """Dilate masks [n, S, S] by ``BAND_PIXELS`` on each side: rows, then columns (a square is separable)."""
    import torch.nn.functional as functional

    side = 2 * BAND_PIXELS + 1
    rows = functional.max_pool2d(masks[:, None], (side, 1), 1, (BAND_PIXELS, 0))
    return functional.max_pool2d(rows, (1, side), 1, (0, BAND_PIXELS))[:, 0]


def binary_entropy(probabilities: torch.Tensor) -> torch.Tensor:
    """-p log2 p - (1 - p) log2 (1 - p): the same for p and 1 - p, 1 bit at 0.5."""
    p = probabilities.clamp(1e-6, 1 - 1e-6)
    return -(p * p.log2() + (1 - p) * (1 - p).log2())


def embed(appearance: torch.Tensor) -> torch.Tensor:
    """Embed pooled encoder features [n, C]: normalized, clipped, and randomly projected to float [n, 64].

    A fixed random projection approximately preserves distances (Johnson and Lindenstrauss) and, unlike principal
    components, needs no data to fit.
    """
    import torch
    import torch.nn.functional as functional

    channels = appearance.shape[1]
    levelled = functional.layer_norm(appearance.float(), (channels,)).clamp(-CLIP, CLIP)
    return levelled @ torch.from_numpy(_projection(channels)).to(levelled.device)


@lru_cache(maxsize=8)
def _projection(channels: int) -> np.ndarray:
    """float32 [C, 64]: a (padded) identity up to 64 channels, else random with rows of unit length."""
    if channels <= EMBEDDING_SIZE:
        return np.eye(channels, EMBEDDING_SIZE, dtype=np.float32)
    drawn = np.random.default_rng(channels).standard_normal((channels, EMBEDDING_SIZE))
    return (drawn / np.sqrt(EMBEDDING_SIZE)).astype(np.float32)
