"""Augmentation of a batch on the square grid, on whatever device the batch is.

A positive frame keeps its outline: a shift or rotation that would push more than ``MAX_LOST`` of the
outline out of the picture is not applied to that frame, so no label is ever flipped silently.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional

MAX_ROTATION = 12.0  # degrees; the probe is held roughly upright in a blind sweep
MAX_SHIFT = 0.05  # share of the picture side
MAX_ZOOM = 0.12  # +- share
MAX_LOST = 0.05  # share of the outline's area that a shift may cut off
GAMMA = 0.3  # +- of the exponent (log2)
GAIN = 0.25  # +- share of the brightness


def _thetas(count: int, generator: torch.Generator) -> torch.Tensor:
    def draw(limit: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    angle, zoom = draw(math.radians(MAX_ROTATION)), 1 + draw(MAX_ZOOM)
    mirrored = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    top = torch.stack([cosine * mirrored, -sine, draw(2 * MAX_SHIFT)], dim=1)
    bottom = torch.stack([sine * mirrored, cosine, draw(2 * MAX_SHIFT)], dim=1)
    return torch.stack([top, bottom], dim=1)


def augment(
    images: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random mirror, rotation, shift, zoom, gamma and gain.

    Args:
        images: uint8 [N, S, S].
        targets: float [N, S, S] of 0 and 1.
        generator: CPU random generator; the same state gives the same batch.

    Returns:
        Images uint8 [N, S, S] and targets float [N, S, S] of 0 and 1.
    """
    count, device = len(images), images.device
    thetas = _thetas(count, generator).to(device)
    pixels = images[:, None].float()
    field = functional.affine_grid(thetas, list(pixels.shape), align_corners=False)
    both = functional.grid_sample(torch.cat([pixels, targets[:, None]], dim=1), field, align_corners=False)
    moved, outlines = both[:, 0], (both[:, 1] >= 0.5).float()
    # areas scale by 1 / det(theta); compare what is left with what there should be
    expected = targets.sum(dim=(1, 2)) / torch.linalg.det(thetas[:, :, :2]).abs()
    cut = outlines.sum(dim=(1, 2)) < (1 - MAX_LOST) * expected
    moved = torch.where(cut[:, None, None], images.float(), moved)
    outlines = torch.where(cut[:, None, None], targets, outlines)
    exponent = torch.exp2((torch.rand(count, generator=generator) * 2 - 1) * GAMMA).to(device)
    gain = (1 + (torch.rand(count, generator=generator) * 2 - 1) * GAIN).to(device)
    brightness = (moved / 255).clamp_(0, 1) ** exponent[:, None, None] * gain[:, None, None]
    return (brightness.clamp_(0, 1) * 255).round_().to(torch.uint8), outlines
