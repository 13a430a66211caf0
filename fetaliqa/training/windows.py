"""Training the decoder on windows around the fetus, which costs a third of whole frames.

The encoder always sees the whole frame. Of its maps and of the picture, the decoder gets a window that holds
the fetal body, wherever there is one: most of a frame is black, or shows the mother.
"""

from __future__ import annotations

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


def _cut(maps: torch.Tensor, first: torch.Tensor, side: int) -> torch.Tensor:
    """Windows [n, ..., side, side] of maps [n, ..., H, W] at ``first`` (int [n, 2])."""
    return torch.stack(
        [map_[..., row : row + side, column : column + side] for map_, (row, column) in zip(maps, first.tolist())]
    )


def windowed_objective(seed: int) -> Objective:
    """The outline's loss in windows around the fetus; ``seed`` is of the windows' moves.

    Whole frames must follow: the statistics of batch norm are others there.
    """
    generator = torch.Generator().manual_seed(seed)

    def objective(model: nn.Module, batch: Batch, _: float) -> torch.Tensor:
        assert isinstance(model, FetalCLIPSeg)
        assert batch.tissues is not None
        images = normalise(batch.images)
        grid = images.shape[-1] // DECODER_STRIDE
        first = body_windows(batch.tissues, grid, generator)
        side, pixels = WINDOW * DECODER_STRIDE, first * DECODER_STRIDE
        features = [_cut(feature, first, WINDOW) for feature in on_decoder_grid(model.features(images), grid)]
        features = [feature.contiguous(memory_format=torch.channels_last) for feature in features]
        window = _cut(images, pixels, side).contiguous(memory_format=torch.channels_last)
        return outline_loss(model.decoder(window, features)[:, 0], _cut(batch.outlines, pixels, side))

    return objective
