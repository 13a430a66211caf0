"""IQA-CNN: quality of a frame as the mean of a small network's scores of its patches.

Kang, Ye, Li & Doermann, "Convolutional neural networks for no-reference image quality assessment", CVPR 2014:
patches of 32 x 32 after local contrast normalisation; 50 filters of 7 x 7; the maximum and the minimum of each
over the patch; two layers of 800; one output. Every patch of a frame is trained towards the frame's quality.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import nn

from fetaliqa.lab.image_quality.frame_sample import FrameSample, shrunk

PATCH = 32  # pixels
WINDOW, CONSTANT = 7, 1.0  # of the normalisation: pixels, grey levels (the paper's P = Q = 3 and C = 1)
FILTERS, KERNEL, WIDE = 50, 7, 800
MIN_SIDE = 2 * PATCH


class PatchNetwork(nn.Module):
    """Scores patches float [N, 32, 32] -> [N]; 0.72 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(1, FILTERS, KERNEL)
        self.head = nn.Sequential(
            nn.Linear(2 * FILTERS, WIDE),
            nn.ReLU(),
            nn.Linear(WIDE, WIDE),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(WIDE, 1),
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        found = self.filters(patches[:, None]).flatten(2)
        scores: torch.Tensor = self.head(torch.cat([found.amax(2), found.amin(2)], dim=1))[:, 0]
        return scores


def normalised_patches(frame: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The patches of a frame that lie inside of the field of view, contrast-normalised; neighbours do not overlap.

    Args:
        frame: uint8 [h, w]; larger ones are shrunk, see ``shrunk``.
        inside: bool [h, w].

    Returns:
        float32 [N, 32, 32]; N is 0 where none fits.
    """
    frame, inside = shrunk(frame, inside)
    pixels = frame.astype(np.float32)
    mean = cv2.blur(pixels, (WINDOW, WINDOW))
    spread = np.sqrt(np.maximum(cv2.blur(pixels * pixels, (WINDOW, WINDOW)) - mean**2, 0.0))
    even = (pixels - mean) / (spread + CONSTANT)
    rows, columns = (side // PATCH * PATCH for side in frame.shape)
    top, left = (frame.shape[0] - rows) // 2, (frame.shape[1] - columns) // 2
    patches = _cut(even[top : top + rows, left : left + columns])
    whole = _cut(inside[top : top + rows, left : left + columns]).all(axis=(1, 2))
    return np.ascontiguousarray(patches[whole])


def _cut(image: np.ndarray) -> np.ndarray:
    blocks = image.reshape(image.shape[0] // PATCH, PATCH, -1, PATCH).swapaxes(1, 2)
    return blocks.reshape(-1, PATCH, PATCH)


def patch_batches(sample: FrameSample, size: int, seed: int) -> PatchBatches:
    """Endless batches of patches of a sample's frames."""
    patches = [normalised_patches(frame, inside) for frame, inside in zip(sample.frames, sample.inside)]
    targets = np.repeat(sample.targets, [len(own) for own in patches])
    return PatchBatches(np.concatenate(patches), targets, size, seed)


class PatchBatches:
    """Iterates over batches of patches float [size, 32, 32] and targets float [size], half of them mirrored."""

    def __init__(self, patches: np.ndarray, targets: np.ndarray, size: int, seed: int) -> None:
        self.patches, self.targets, self.size = patches, targets, size
        self._random = np.random.default_rng(seed)

    def __iter__(self) -> PatchBatches:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = self._random.integers(0, len(self.patches), self.size)
        patches = self.patches[chosen]
        mirrored = self._random.random(self.size) < 0.5
        patches[mirrored] = patches[mirrored][:, :, ::-1]
        return torch.from_numpy(patches), torch.from_numpy(self.targets[chosen])


@torch.inference_mode()
def patch_score(network: PatchNetwork, frame: np.ndarray, inside: np.ndarray) -> float:
    """Mean score of a frame's patches; NaN where none fits into the field of view."""
    patches = normalised_patches(frame, inside)
    return float(network(torch.from_numpy(patches)).mean()) if len(patches) else float("nan")
