"""The interactive model: a mask of one frame from clicks, a box and a previous mask.

The encoder is the compact model's (``fetaliqa.model.compact_model``), and its maps of a frame are computed once.
Each prompt runs the decoder only: prompts enter at stride 4, go down beside the encoder's maps to stride 32, and
up again, so that a click at one place can move an outline at another. Late fusion of prompts as in SAM (arXiv
2304.02643); clicks as disks and the previous mask as input as in RITM (arXiv 2102.06583).

The model knows no anatomy: what is outlined follows from the prompts.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import nn

from fetaliqa.model.architecture import BackboneConfig

STRIDE = 2  # of the prompt maps and the answer
FINEST = 4  # stride of the decoder's finest level
PROMPT_CHANNELS = 8  # see `prompt_maps`
CLICK_RADIUS = 2.5  # cells of stride 2
CLICK_REACH = 12.0  # cells; standard deviation of the wide map around a click
GROUP_CHANNELS = 8  # of group normalisation
STATISTICS = 7  # of the answer, see `_statistics`
EPS = 1e-6


@dataclass(frozen=True)
class PromptConfig:
    """Channels of the decoder at strides 4, 8, 16 and 32, and hidden units of the expected Dice."""

    channels: tuple[int, int, int, int] = (32, 64, 112, 160)
    hidden: int = 64

    def __post_init__(self) -> None:
        for channels in self.channels:
            if not GROUP_CHANNELS <= channels <= 1024 or channels % GROUP_CHANNELS:
                raise ValueError(f"channels are {list(self.channels)}; multiples of {GROUP_CHANNELS} are needed")
        if not 1 <= self.hidden <= 1024:
            raise ValueError(f"hidden is {self.hidden}; 1 to 1024 is accepted")


class FrameEncoding(NamedTuple):
    """What the decoder needs of N frames, computed once.

    Attributes:
        levels: [N, C, h, w] at strides 4 to 32.
    """

    levels: list[torch.Tensor]


class Answer(NamedTuple):
    """The answer to prompts on N frames.

    Attributes:
        logits: [N, 1, S/2, S/2] of the mask.
        dice: logits [N] of the Dice that the mask is expected to have; low where the object is not in the frame.
    """

    logits: torch.Tensor
    dice: torch.Tensor


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels // GROUP_CHANNELS, channels)


class Block(nn.Module):
    """Depthwise 3 x 3 and pointwise convolution with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = _norm(channels)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return functional.relu(values + self.norm(self.pointwise(self.depthwise(values))))


class Down(nn.Module):
    """To half the resolution and other channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(before, before, 3, stride=2, padding=1, groups=before, bias=False)
        self.pointwise = nn.Conv2d(before, after, 1, bias=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.pointwise(self.depthwise(values))


class PromptDecoder(nn.Module):
    """Decoder from a frame's encoding and prompts to a mask and its expected Dice.

    Args:
        encoder_channels: of the encoder's maps at strides 2 to 32.
        config: sizes.
    """

    def __init__(self, encoder_channels: tuple[int, ...], config: PromptConfig) -> None:
        super().__init__()
        widths = config.channels
        pairs = list(itertools.pairwise(widths))
        self.laterals = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(encoder_channels[1:], widths))
        self.fine = nn.Conv2d(encoder_channels[0], widths[0], 3, stride=2, padding=1, bias=False)
        self.pixels = nn.Conv2d(FINEST**2, widths[0], 1, bias=False)
        self.stem = nn.Conv2d(PROMPT_CHANNELS, widths[0], 5, stride=2, padding=2, bias=False)
        self.downs = nn.ModuleList(Down(fine, coarse) for fine, coarse in pairs)
        self.norms = nn.ModuleList(_norm(width) for width in widths)
        self.encoding = nn.ModuleList(nn.Sequential(Block(width), Block(width)) for width in widths)
        self.everywhere = nn.Linear(widths[-1], widths[-1])
        self.ups = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.decoding = nn.ModuleList(nn.Sequential(Block(width), Block(width)) for width in widths[:-1])
        self.mask = nn.Conv2d(widths[0], (FINEST // STRIDE) ** 2, 3, padding=1)
        features = widths[-1] + widths[0] + widths[1] + STATISTICS
        self.dice = nn.Sequential(nn.Linear(features, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 1))

    def encode(self, frames: torch.Tensor, maps: list[torch.Tensor]) -> FrameEncoding:
        """Encoding of frames, uint8 [N, S, S], from the encoder's maps of them."""
        pixels = functional.pixel_unshuffle(frames[:, None].to(maps[0].dtype) / 255, FINEST)
        levels = [lateral(one) for lateral, one in zip(self.laterals, maps[1:])]
        levels[0] = levels[0] + self.fine(maps[0]) + self.pixels(pixels)
        return FrameEncoding(levels)

    def forward(self, encoding: FrameEncoding, prompts: torch.Tensor) -> Answer:
        """The answer to ``prompts`` from :func:`prompt_maps`, [N, 8, S/2, S/2]."""
        value = self.stem(prompts)
        down = []
        for level, (lateral, norm, block) in enumerate(zip(encoding.levels, self.norms, self.encoding)):
            value = block(functional.relu(norm(value + lateral)))
            down.append(value)
            if level < len(self.downs):
                value = self.downs[level](value)
        pooled = value.mean(dim=(2, 3))
        value = value + self.everywhere(pooled)[:, :, None, None]
        middle = value
        for level in reversed(range(len(self.ups))):
            raised = functional.interpolate(
                self.ups[level](value), size=down[level].shape[2:], mode="bilinear", align_corners=False
            )
            value = self.decoding[level](down[level] + raised)
            middle = value if level == 1 else middle
        logits = functional.pixel_shuffle(self.mask(value), FINEST // STRIDE)
        # detached: the expected Dice describes the mask and does not change it
        probabilities = torch.sigmoid(logits.detach())
        features = [
            pooled.detach(),
            _inside(value.detach(), probabilities),
            _inside(middle.detach(), probabilities),
            _statistics(probabilities, prompts),
        ]
        return Answer(logits, self.dice(torch.cat(features, dim=1))[:, 0])


def _inside(values: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """Means [N, C] of values [N, C, h, w] inside of a mask."""
    weights = functional.adaptive_avg_pool2d(probabilities, (values.shape[2], values.shape[3]))
    return (values * weights).sum(dim=(2, 3)) / (weights.sum(dim=(2, 3)) + EPS)


def _statistics(probabilities: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
    """[N, 7]: area, soft Dice, maximum, change against the previous mask, whether there is one, clicks, a box."""
    foreground = (probabilities > 0.5).float()
    area, total = foreground.mean(dim=(1, 2, 3)), probabilities.mean(dim=(1, 2, 3))
    soft_dice = 2 * (probabilities * foreground).mean(dim=(1, 2, 3)) / (total + area + EPS)
    previous, given = prompts[:, 4:5], prompts[:, 5].amax(dim=(1, 2))
    overlap = 2 * (foreground * previous).mean(dim=(1, 2, 3)) / (area + previous.mean(dim=(1, 2, 3)) + EPS)
    clicked, boxed = prompts[:, :2].amax(dim=(1, 2, 3)), prompts[:, 7].amax(dim=(1, 2))
    return torch.stack([area, soft_dice, probabilities.amax(dim=(1, 2, 3)), overlap, given, clicked, boxed], dim=1)


class InteractiveSeg(nn.Module):
    """The compact model's encoder with a :class:`PromptDecoder`.

    Args:
        vision: of the encoder.
        config: of the decoder.
        visual: the encoder, from ``build_encoder``.
    """

    def __init__(self, vision: BackboneConfig, config: PromptConfig, visual: nn.Module) -> None:
        super().__init__()
        self.vision, self.config = vision, config
        self.visual = visual
        self.decoder = PromptDecoder(vision.channels, config).to(memory_format=torch.channels_last)


def click_maps(clicks: list[tuple[float, float]], size: int) -> torch.Tensor:
    """Disks and wide Gaussians around clicks.

    Args:
        clicks: (column, row) in pixels of the square grid of ``size`` pixels.
        size: side of the square grid, S.

    Returns:
        float [2, S/2, S/2] of 0 to 1; all 0 without clicks.
    """
    side = size // STRIDE
    maps = torch.zeros(2, side, side)
    if not clicks:
        return maps
    cells = torch.arange(side, dtype=torch.float32)
    squared = torch.full((side, side), torch.inf)
    for column, row in clicks:
        x, y = (column + 0.5) / STRIDE - 0.5, (row + 0.5) / STRIDE - 0.5
        squared = torch.minimum(squared, (cells[None] - x) ** 2 + (cells[:, None] - y) ** 2)
    maps[0] = (CLICK_RADIUS + 0.5 - squared.sqrt()).clamp(0, 1)
    maps[1] = torch.exp(squared / (-2 * CLICK_REACH**2))
    return maps


def prompt_maps(
    foreground: list[tuple[float, float]],
    background: list[tuple[float, float]],
    previous: torch.Tensor | None,
    box: tuple[float, float, float, float] | None,
    size: int,
) -> torch.Tensor:
    """Input of the decoder for one frame.

    Args:
        foreground, background: clicks, (column, row) in pixels of the square grid.
        previous: the previous mask, float [S, S] of 0 to 1, or None.
        box: (left, top, right, bottom) in pixels of the square grid, or None.
        size: side of the square grid, S.

    Returns:
        float [8, S/2, S/2]: disks of the foreground and background clicks, their wide maps, the previous mask,
        whether there is one, the box, whether there is one.
    """
    inside, outside = click_maps(foreground, size), click_maps(background, size)
    side = size // STRIDE
    rest = torch.zeros(4, side, side)
    if previous is not None:
        rest[0] = functional.avg_pool2d(previous.float()[None, None], STRIDE)[0, 0]
        rest[1] = 1.0
    if box is not None:
        cells = torch.arange(side, dtype=torch.float32) * STRIDE + (STRIDE - 1) / 2
        left, top, right, bottom = box
        columns, rows = (cells >= left) & (cells <= right), (cells >= top) & (cells <= bottom)
        rest[2] = (rows[:, None] & columns[None]).float()
        rest[3] = 1.0
    return torch.cat([torch.stack([inside[0], outside[0], inside[1], outside[1]]), rest])
