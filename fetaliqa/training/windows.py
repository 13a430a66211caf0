"""Training the decoder on windows of the frames: of 8 x 8 of 14 x 14 cells, which costs a third of whole frames.

The encoder always sees the whole frame. Of its maps and of the picture, the decoder gets a window that holds the
outline, or (the demo) the fetal body, wherever there is one: most of a frame is black, or shows the mother.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from fetaliqa.datasets.phantom.tissue import TISSUES
from fetaliqa.models import FetalCLIPSeg, normalise
from fetaliqa.models.architecture import DECODER_STRIDE
from fetaliqa.models.decoder import on_decoder_grid
from fetaliqa.training.fit import Objective
from fetaliqa.training.frames import TISSUE_GRID, Batch
from fetaliqa.training.losses import outline_loss

WINDOW = 8  # cells of 16 pixels; an abdomen of 300 mm is 6.4 cells wide at the phantom's scale
JITTER = 1  # cells a window is moved at random
BODY = [TISSUES.index(name) for name in ("trunk", "stomach", "vein", "thorax", "lower abdomen", "spine", "head")]


def body_windows(tissues: torch.Tensor, grid: int, generator: torch.Generator) -> torch.Tensor:
    """First row and column, in cells, of each frame's window.

    Args:
        tissues: int [n, 56, 56].
        grid: cells along a side of the whole frame.
        generator: for the random moves.

    Returns:
        int [n, 2].
    """
    body = torch.isin(tissues, torch.tensor(BODY, device=tissues.device)).float()
    body += 1e-6 * (tissues > 0)  # without a fetus, the middle of what there is
    places = (torch.arange(TISSUE_GRID, device=tissues.device) + 0.5) * (grid / TISSUE_GRID)
    weight = body.sum(dim=(1, 2)).clamp(min=1e-9)
    rows = (body.sum(dim=2) * places).sum(dim=1) / weight
    columns = (body.sum(dim=1) * places).sum(dim=1) / weight
    moves = torch.randint(-JITTER, JITTER + 1, (len(tissues), 2), generator=generator).to(tissues.device)
    first = torch.stack([rows, columns], dim=1) - WINDOW / 2
    return (first.round().long() + moves).clamp(0, grid - WINDOW)


def outline_windows(outlines: torch.Tensor, places: torch.Tensor, window: int) -> torch.Tensor:
    """First row and column, in cells, of a window of each frame: one of all that hold the whole outline.

    An outline larger than the window fills it. A frame without outline gets any window at all.

    Args:
        outlines: float or int [n, S, S], positive inside; S is a multiple of 16.
        places: float [n, 2] from 0 to 1: which of the possible rows and columns.
        window: cells along a side of the window.

    Returns:
        int [n, 2].
    """
    grid = outlines.shape[-1] // DECODER_STRIDE
    room = max(0, grid - window)
    inside = outlines > 0
    found = []
    for axis in (1, 2):
        cells = inside.any(dim=3 - axis).reshape(len(outlines), grid, DECODER_STRIDE).any(dim=2)
        anything = cells.any(dim=1)
        begins = cells.int().argmax(dim=1)
        ends = grid - cells.flip(1).int().argmax(dim=1)
        low, high = (ends - window).clamp(0, room), begins.clamp(0, room)
        low, high = torch.minimum(low, high), torch.maximum(low, high)
        low, high = torch.where(anything, low, 0), torch.where(anything, high, room)
        found.append(low + (places[:, axis - 1] * (high - low + 1)).long().clamp(max=high - low))
    return torch.stack(found, dim=1)


def cut(maps: torch.Tensor, first: torch.Tensor, side: int) -> torch.Tensor:
    """Windows [n, ..., side, side] of maps [n, ..., H, W] at ``first`` (int [n, 2])."""
    return torch.stack(
        [map_[..., row : row + side, column : column + side] for map_, (row, column) in zip(maps, first.tolist())]
    )


def decode_windows(
    model: FetalCLIPSeg, images: torch.Tensor, features: Sequence[torch.Tensor], first: torch.Tensor, window: int
) -> torch.Tensor:
    """The decoder's logits of windows.

    Args:
        model: whose decoder is asked.
        images: float [n, 3, S, S], normalised whole frames.
        features: of the whole frames, from the encoder or a store.
        first: int [n, 2], cells, see ``outline_windows``.
        window: cells along a side.

    Returns:
        float [n, 16 * window, 16 * window].
    """
    maps = [cut(one, first, window) for one in on_decoder_grid(features, images.shape[-1] // DECODER_STRIDE)]
    maps = [one.contiguous(memory_format=torch.channels_last) for one in maps]
    pixels = cut(images, first * DECODER_STRIDE, window * DECODER_STRIDE)
    return model.decoder(pixels.contiguous(memory_format=torch.channels_last), maps)[:, 0]


def windowed_objective(seed: int) -> Objective:
    """The outline's loss in windows around the fetus; ``seed`` is of the windows' moves.

    Whole frames must follow: the statistics of batch norm are others there.
    """
    generator = torch.Generator().manual_seed(seed)

    def objective(model: nn.Module, batch: Batch, _: float) -> torch.Tensor:
        assert isinstance(model, FetalCLIPSeg)
        assert batch.tissues is not None
        images = normalise(batch.images)
        first = body_windows(batch.tissues, images.shape[-1] // DECODER_STRIDE, generator)
        logits = decode_windows(model, images, model.features(images), first, WINDOW)
        return outline_loss(logits, cut(batch.outlines, first * DECODER_STRIDE, logits.shape[-1]))

    return objective
