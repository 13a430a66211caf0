"""Augmentation of a batch on the square grid, on whatever device the batch is.

A positive frame keeps its outline: a shift or rotation that would push more than ``MAX_LOST`` of the
outline out of the picture is not applied to that frame, so no label is ever flipped silently.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as functional

from fetaliqa.training.frames import Batch

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


def augment(batch: Batch, generator: torch.Generator, *, moves: bool = True) -> Batch:
    """Random mirror, gamma and gain and, with ``moves``, rotation, shift and zoom.

    Outlines and tissues move with the picture.

    Args:
        batch: frames of side S.
        generator: CPU random generator; the same state gives the same batch.
        moves: without, the sector stays where it is.
    """
    moved = _moved(batch, generator) if moves else _mirrored(batch, generator)
    count, device = len(moved.images), moved.images.device
    exponent = torch.exp2((torch.rand(count, generator=generator) * 2 - 1) * GAMMA).to(device)
    gain = (1 + (torch.rand(count, generator=generator) * 2 - 1) * GAIN).to(device)
    brightness = (moved.images / 255).clamp_(0, 1) ** exponent[:, None, None] * gain[:, None, None]
    return replace(moved, images=(brightness.clamp_(0, 1) * 255).round_().to(torch.uint8))


def _mirrored(batch: Batch, generator: torch.Generator) -> Batch:
    turned = (torch.rand(len(batch.images), generator=generator) < 0.5).to(batch.images.device)[:, None, None]

    def mirror(maps: torch.Tensor) -> torch.Tensor:
        return torch.where(turned, maps.flip(-1), maps)

    tissues = None if batch.tissues is None else mirror(batch.tissues)
    return Batch(mirror(batch.images), mirror(batch.outlines), tissues)


def _moved(batch: Batch, generator: torch.Generator) -> Batch:
    images, targets, tissues = batch.images, batch.outlines, batch.tissues
    thetas = _thetas(len(images), generator).to(images.device)
    pixels = images[:, None].float()
    field = functional.affine_grid(thetas, list(pixels.shape), align_corners=False)
    both = functional.grid_sample(torch.cat([pixels, targets[:, None]], dim=1), field, align_corners=False)
    outlines = (both[:, 1] >= 0.5).float()
    # areas scale by 1 / det(theta); compare what is left with what there should be
    expected = targets.sum(dim=(1, 2)) / torch.linalg.det(thetas[:, :, :2]).abs()
    cut = (outlines.sum(dim=(1, 2)) < (1 - MAX_LOST) * expected)[:, None, None]
    if tissues is not None:
        cells = tissues[:, None].float()
        field = functional.affine_grid(thetas, list(cells.shape), align_corners=False)
        turned = functional.grid_sample(cells, field, mode="nearest", align_corners=False)[:, 0]
        tissues = torch.where(cut, tissues, turned.to(tissues.dtype))
    return Batch(torch.where(cut, pixels[:, 0], both[:, 0]), torch.where(cut, targets, outlines), tissues)
