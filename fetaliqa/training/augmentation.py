"""Augmentation of a batch on the square grid, on the batch's device.

A positive frame keeps its outline: a geometric change that would cut off more than a small share of the outline is
not applied to that frame, so no label is flipped silently. (The released code of FetalCLIP-IQA shifts frames by up
to 20 % without this check.)

Drawing and applying are separate steps, so that each process can draw for the whole batch and apply its part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as functional

from fetaliqa.training.training_frames import Batch


@dataclass(frozen=True)
class Augmentation:
    """Settings of the augmentation.

    Attributes:
        rotation_deg: largest rotation either way; the probe is held roughly upright in a blind sweep.
        shift: largest shift, as a share of the picture's side.
        zoom: largest change of size, as a share.
        mirror: whether half of the frames are mirrored left to right.
        flip: whether half of the frames are turned upside down.
        gamma: largest change of the exponent of the grey levels, either way (log2).
        gain: largest change of the brightness, as a share.
        max_lost: share of the outline's area that may be cut off; otherwise the frame is not moved.
    """

    rotation_deg: float = 12.0
    shift: float = 0.05
    zoom: float = 0.12
    mirror: bool = True
    flip: bool = False
    gamma: float = 0.3
    gain: float = 0.25
    max_lost: float = 0.05

    def __post_init__(self) -> None:
        for name in ("rotation_deg", "shift", "zoom", "gamma", "gain", "max_lost"):
            if not 0 <= getattr(self, name) <= (180 if name == "rotation_deg" else 1):
                raise ValueError(f"{name} is {getattr(self, name)}; 0 to {180 if name == 'rotation_deg' else 1}")

    @property
    def moves(self) -> bool:
        """Whether frames are turned, shifted or zoomed."""
        return bool(self.rotation_deg or self.shift or self.zoom)


STILL = Augmentation(rotation_deg=0.0, shift=0.0, zoom=0.0)  # the sector stays where it is


@dataclass(frozen=True)
class Changes:
    """Random changes drawn for n frames.

    Attributes:
        thetas: float [n, 2, 3], sampling matrices of ``affine_grid`` (mirroring included).
        mirrored: bool [n].
        flipped: bool [n].
        exponents: float [n], of the grey levels.
        gains: float [n].
    """

    thetas: torch.Tensor
    mirrored: torch.Tensor
    flipped: torch.Tensor
    exponents: torch.Tensor
    gains: torch.Tensor

    def part(self, first: int, step: int) -> Changes:
        """Those of every ``step``-th frame from ``first`` on: one process's part."""
        chosen = slice(first, None, step)
        return Changes(
            self.thetas[chosen],
            self.mirrored[chosen],
            self.flipped[chosen],
            self.exponents[chosen],
            self.gains[chosen],
        )

    def to(self, device: torch.device) -> Changes:
        """The changes on a device; from page-locked memory the host does not wait for them."""
        ahead = device.type == "cuda"
        return Changes(*(getattr(self, one.name).to(device, non_blocking=ahead) for one in fields(self)))

    def pin_memory(self) -> Changes:
        """The changes in page-locked memory, as a loader asks of what it loads."""
        return Changes(*(getattr(self, one.name).pin_memory() for one in fields(self)))


def draw_changes(count: int, generator: torch.Generator, settings: Augmentation) -> Changes:
    """Draw changes for ``count`` frames; the same state of the (CPU) generator gives the same changes."""

    def draw(limit: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * limit

    def coin(wanted: bool) -> torch.Tensor:
        return torch.rand(count, generator=generator) < 0.5 if wanted else torch.zeros(count, dtype=torch.bool)

    if settings.moves:
        angle, zoom = draw(math.radians(settings.rotation_deg)), 1 + draw(settings.zoom)
        mirrored, flipped = coin(settings.mirror), coin(settings.flip)
        across, down = (1 - 2 * side.float() for side in (mirrored, flipped))
        cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        top = torch.stack([cosine * across, -sine * down, draw(2 * settings.shift)], dim=1)
        bottom = torch.stack([sine * across, cosine * down, draw(2 * settings.shift)], dim=1)
        thetas = torch.stack([top, bottom], dim=1)
    else:
        mirrored, flipped = coin(settings.mirror), coin(settings.flip)
        thetas = torch.zeros(count, 2, 3)
    exponents = torch.exp2(draw(settings.gamma))
    return Changes(thetas, mirrored, flipped, exponents, 1 + draw(settings.gain))


def augment(batch: Batch, generator: torch.Generator, settings: Augmentation = STILL) -> Batch:
    """Draw and apply changes to a batch."""
    return apply_changes(batch, draw_changes(len(batch.images), generator, settings), settings)


def apply_changes(batch: Batch, changes: Changes, settings: Augmentation) -> Batch:
    """Apply drawn changes; outlines move with the picture.

    Args:
        batch: n frames of side S.
        changes: of n frames.
        settings: those that the changes were drawn with.
    """
    moved = _moved(batch, changes, settings.max_lost) if settings.moves else _mirrored(batch, changes, settings)
    device = moved.images.device
    exponents, gains = (part.to(device)[:, None, None] for part in (changes.exponents, changes.gains))
    brightness = (moved.images / 255).clamp_(0, 1) ** exponents * gains
    return replace(moved, images=(brightness.clamp_(0, 1) * 255).round_().to(torch.uint8))


def _mirrored(batch: Batch, changes: Changes, settings: Augmentation) -> Batch:
    sides = [(changes.mirrored, -1, settings.mirror), (changes.flipped, -2, settings.flip)]

    def turn(maps: torch.Tensor) -> torch.Tensor:
        for chosen, axis, drawn in sides:
            if drawn:
                maps = torch.where(chosen.to(maps.device)[:, None, None], maps.flip(axis), maps)
        return maps

    return Batch(turn(batch.images), turn(batch.outlines))


def _moved(batch: Batch, changes: Changes, max_lost: float) -> Batch:
    images, targets = batch.images, batch.outlines
    thetas = changes.thetas.to(images.device)
    pixels = images[:, None].float()
    field = functional.affine_grid(thetas, list(pixels.shape), align_corners=False)
    both = functional.grid_sample(torch.cat([pixels, targets[:, None]], dim=1), field, align_corners=False)
    outlines = (both[:, 1] >= 0.5).float()
    # areas scale by 1 / det(theta); compare what is left with what there should be
    expected = targets.sum(dim=(1, 2)) / torch.linalg.det(thetas[:, :, :2]).abs()
    cut = (outlines.sum(dim=(1, 2)) < (1 - max_lost) * expected)[:, None, None]
    return Batch(torch.where(cut, pixels[:, 0], both[:, 0]), torch.where(cut, targets, outlines))
