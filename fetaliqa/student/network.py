"""The student: a small convolutional network that guesses the quality a large model would give a frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

GRID = 112  # pixels along a side; the abdomen is still some 25 to 60 of them wide
WIDTHS = (12, 24, 32, 48, 64)  # channels at 56, 28, 14, 7 and again 7 pixels
BATCH = 32  # frames; their largest maps still fit a core's cache


class StudentNet(nn.Module):
    """Plain 3 x 3 convolutions, four of them with stride 2, then mean and maximum over the places.

    The mean says what the frame is like, the maximum whether the anatomy is anywhere.

    Args:
        widths: channels, five numbers.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        first, second, third, fourth, fifth = widths
        self.body = nn.Sequential(
            _block(1, first, 2),
            _block(first, second, 2),
            _block(second, second, 1),
            _block(second, third, 2),
            _block(third, fourth, 1),
            _block(fourth, fourth, 2),
            _block(fourth, fifth, 1),
        )
        self.head = nn.Linear(2 * fifth, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N] of the quality of images, float [N, 1, 112, 112]."""
        maps = self.body(images)
        return self.head(torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1))[:, 0]

    def for_inference(self) -> StudentNet:
        """This network in eval mode with its batch norms folded into the convolutions; changed in place."""
        self.eval().requires_grad_(False)
        for block in self.body:
            assert isinstance(block, nn.Sequential)
            block[0] = fuse_conv_bn_eval(block[0], block[1])
            block[1] = nn.Identity()
        return self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _block(channels: int, wanted: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, wanted, 3, stride, 1, bias=False), nn.BatchNorm2d(wanted), nn.ReLU(inplace=True)
    )


def as_images(squares: torch.Tensor) -> torch.Tensor:
    """uint8 [N, S, S] as the network takes them: float [N, 1, S, S], 0 to 1."""
    return (squares[:, None].float() / 255.0).contiguous(memory_format=torch.channels_last)
