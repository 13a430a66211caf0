"""Teaching a small encoder anatomy from phantoms: what stands in for the foundation model's pre-training.

FetalCLIP learnt from 210,035 pictures with captions. The demo encoder starts from nothing, and outlines alone
teach it too little: it finds round things and cannot tell an abdomen from a head. A phantom knows what lies
at every point, so the encoder is asked for that: a tissue for each of 4 x 4 cells of every patch, the
outline on the same cells, and from its pooled output whether the frame is a measurable plane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import nn

from fetaliqa.datasets.phantom.tissue import TISSUES
from fetaliqa.models import normalise
from fetaliqa.models.architecture import VisionConfig
from fetaliqa.training.fit import FitSettings, Objective, StepReport, fit
from fetaliqa.training.frames import TISSUE_GRID, Batch, FrameSet
from fetaliqa.training.losses import coarse_outline_loss

FRAME_WEIGHT = 0.5  # of the frame's cross-entropy beside those of its cells
SURE = 12.0  # logit of what is known without looking: outside of the sector there is nothing
# Patches that see only black outside of the sector teach nothing and are about two fifths of all. They are left
# out in this first share of the training; in the rest the encoder learns to live with them.
SECTOR_SHARE = 0.85


@dataclass
class Reading:
    """What the reader says of n frames: logits [n, K, 56, 56], [n, 56, 56] and [n]."""

    tissues: torch.Tensor
    outline: torch.Tensor
    measurable: torch.Tensor


class _Tokens(nn.Module):
    """Passes on the class token and some patch tokens."""

    def __init__(self, patches: torch.Tensor) -> None:
        super().__init__()
        chosen = torch.cat([patches.new_zeros(1), patches + 1])
        self.register_buffer("chosen", chosen, persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, self.chosen]  # type: ignore[index]


class AnatomyReader(nn.Module):
    """An image encoder with linear read-outs of its last block and of its pooled output.

    Args:
        visual: the encoder, from ``build_tower``.
        vision: its sizes; its patch grid must divide the tissue grid.
        sector_patches: numbers of the patches that see the sector, int [P].
    """

    def __init__(self, visual: nn.Module, vision: VisionConfig, sector_patches: np.ndarray) -> None:
        super().__init__()
        if TISSUE_GRID % vision.grid:
            raise ValueError(f"{vision.grid} patches along a side do not divide the tissue grid of {TISSUE_GRID}")
        self.visual, self.grid, self.depth = visual, vision.grid, vision.layers
        self.cells = TISSUE_GRID // vision.grid
        self.channels = len(TISSUES) + 1  # the tissues, and the outline
        self.patch_head = nn.Linear(vision.width, self.cells**2 * self.channels)
        self.frame_head = nn.Linear(vision.embed_dim, 1)
        self.register_buffer("sector_patches", torch.from_numpy(sector_patches).long(), persistent=False)

    def forward(self, images: torch.Tensor, *, sector_only: bool = False) -> Reading:
        """Read frames, float [n, 3, S, S] from ``normalise``; ``sector_only`` leaves out the other patches."""
        count = len(images)
        # open_clip's own place for leaving tokens out, after the positions were added
        self.visual.patch_dropout = _Tokens(self.sector_patches) if sector_only else nn.Identity()  # type: ignore
        output = self.visual.forward_intermediates(  # type: ignore[operator]
            images, indices=[self.depth - 1], output_fmt="NLC"
        )
        cells = self.patch_head(output["image_intermediates"][0])
        cells = cells.reshape(count, -1, self.channels, self.cells**2)
        if sector_only:
            whole = cells.new_zeros(count, self.grid**2, self.channels, self.cells**2)
            whole[:, :, 0], whole[:, :, -1] = SURE, -SURE  # tissue 0: nothing; no outline
            whole[:, self.sector_patches] = cells  # type: ignore[index]
            cells = whole
        cells = cells.reshape(count, self.grid, self.grid, self.channels, self.cells, self.cells)
        maps = cells.permute(0, 3, 1, 4, 2, 5).reshape(count, self.channels, TISSUE_GRID, TISSUE_GRID)
        return Reading(maps[:, :-1], maps[:, -1], self.frame_head(output["image_features"])[:, 0])


def sector_patches(images: np.ndarray, patch_size: int) -> np.ndarray:
    """Numbers of the patches in which any of the frames, uint8 [N, S, S], is not black; int [P]."""
    grid = images.shape[-1] // patch_size
    seen = images.max(axis=0).reshape(grid, patch_size, grid, patch_size).max(axis=(1, 3))
    return np.flatnonzero(seen.ravel() > 0)


def anatomy_objective(tissues: np.ndarray) -> Objective:
    """The loss of an :class:`AnatomyReader` on a batch.

    Args:
        tissues: uint8, tissue maps of the training frames; rare tissues weigh more, by the inverse square
            root of their share.
    """
    shares = np.bincount(tissues.ravel(), minlength=len(TISSUES)) / tissues.size
    inverse = 1 / np.sqrt(np.maximum(shares, 1e-4))
    weights = torch.from_numpy(inverse / (inverse * shares).sum()).float()

    def objective(model: nn.Module, batch: Batch, progress: float) -> torch.Tensor:
        assert batch.tissues is not None, "an anatomy lesson needs tissue maps"
        reading = model(normalise(batch.images), sector_only=progress < SECTOR_SHARE)
        measurable = (batch.outlines.amax(dim=(1, 2)) > 0).float()
        cells = functional.cross_entropy(reading.tissues, batch.tissues, weights.to(batch.images.device))
        frame = functional.binary_cross_entropy_with_logits(reading.measurable, measurable)
        return cells + coarse_outline_loss(reading.outline, batch.outlines) + FRAME_WEIGHT * frame

    return objective


def teach_anatomy(
    visual: nn.Module,
    vision: VisionConfig,
    frames: FrameSet,
    settings: FitSettings,
    report: Callable[[StepReport], None],
) -> dict[str, torch.Tensor]:
    """Give an encoder the lesson, from an informed start.

    Args:
        visual: the encoder; its values are replaced.
        vision: its sizes.
        frames: phantom frames with tissue maps.
        settings: of the fit.
        report: called after every step.

    Returns:
        The encoder's tensors, averaged over the last steps.
    """
    informed_start(visual, vision, settings.seed)
    reader = AnatomyReader(visual, vision, sector_patches(frames.images, vision.patch_size))
    fitted = fit(reader, frames, settings, anatomy_objective(frames.tissues), report)
    return {name: tensor.detach().clone() for name, tensor in fitted.visual.state_dict().items()}  # type: ignore


FILTER_STD = 0.06  # spread of a patch filter's answer, before its share below
POSITION_STD = 0.35  # of the start's position embeddings
POSITION_PERIOD = 100.0  # longest over shortest wavelength of the position embeddings


@torch.no_grad()
def informed_start(tower: nn.Module, vision: VisionConfig, seed: int) -> None:
    """A better start than random values for an encoder that sees few pictures, in place.

    The patch filters are the lowest frequencies of the cosine transform (speckle is noise; anatomy is in the low
    frequencies), and the positions are sines and cosines (as in arXiv 2205.01580), turned at random so that
    they use all channels.
    """
    side, width = vision.patch_size, vision.width
    pairs = [(u, v) for u in range(side) for v in range(side)]
    frequencies = sorted(pairs, key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))[:width]
    points = np.arange(side) + 0.5
    waves = np.cos(np.pi * np.outer(np.arange(side), points) / side)  # [frequency, point]
    filters = np.stack([np.outer(waves[u], waves[v]) for u, v in frequencies])
    filters /= np.sqrt((filters**2).sum(axis=(1, 2), keepdims=True))
    # the lowest frequencies answer most; they are turned down so that no channel drowns the others
    share = np.minimum(1.0, 0.15 + 0.25 * np.hypot(*np.array(frequencies).T))
    scaled = torch.from_numpy(FILTER_STD * share[:, None, None] * filters).float()
    # a patch of fewer pixels than channels leaves the last channels as they are
    tower.conv1.weight[: len(scaled)] = scaled[:, None].expand(-1, 3, -1, -1)  # type: ignore[union-attr,operator,index]
    quarter = width // 4
    omega = POSITION_PERIOD ** (-np.arange(quarter) / quarter)
    rows, columns = (axis.ravel()[:, None] * omega for axis in np.indices((vision.grid, vision.grid)))
    waves = np.concatenate([np.sin(columns), np.cos(columns), np.sin(rows), np.cos(rows)], axis=1)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]
    positions = waves @ turn[: waves.shape[1]] * (POSITION_STD * np.sqrt(2))
    tower.positional_embedding[1:].copy_(torch.from_numpy(positions).float())  # type: ignore[index]
