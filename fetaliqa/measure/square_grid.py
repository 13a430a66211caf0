"""Resampling between a frame's native grid and the model's square grid.

Forward, as in FetalCLIP's preprocessing: pad with zeros to a centred square of side ``max(H, W)``
(``left = (S - W) // 2``, ``top = (S - H) // 2``), then resize to 224 x 224 by antialiased bicubic interpolation on
8-bit values. Backward: bilinear interpolation of the model's probabilities with the same pixel-centre convention,
then removal of the padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

GRID = 224  # pixels; FetalCLIP's image_size


def _resize_rounding_between_passes(padded: torch.Tensor, size: int) -> torch.Tensor:
    """Antialiased bicubic resize of uint8 [N, 1, S, S] on devices without a uint8 kernel.

    Columns first, then rows, rounded and clamped to 0-255 after each pass, as Pillow does: clamping only
    at the end differs by tens of grey levels where bright speckle makes the kernel overshoot.
    """
    import torch
    import torch.nn.functional as functional

    side = padded.shape[-1]
    values = padded.float()
    for shape in ((side, size), (size, size)):
        values = functional.interpolate(values, size=shape, mode="bicubic", antialias=True, align_corners=False)
        values = values.round_().clamp_(0, 255)
    return values.to(torch.uint8)


@dataclass(frozen=True)
class SquareGrid:
    """The square a native frame of ``height`` x ``width`` pixels is padded to, and its resampling.

    Examples:
        A frame of ACOUSLIC-AI is padded by 91 rows at the top and at the bottom, then resampled.

        >>> grid = SquareGrid(562, 744)
        >>> grid.side, grid.top, grid.left, round(grid.pixel_scale, 3)
        (744, 91, 0, 3.321)
        >>> frames = np.full((2, 562, 744), 128, np.uint8)
        >>> squares = grid.to_square(frames)
        >>> squares.shape, int(squares[0, 0, 0]), int(squares[0, 112, 112])
        (torch.Size([2, 224, 224]), 0, 128)

        Masks on the model's grid come back on the frame's own.

        >>> grid.masks_to_native(squares / 255, threshold=0.25).shape
        (2, 562, 744)
    """

    height: int
    width: int
    size: int = GRID

    @property
    def side(self) -> int:
        """Side of the padded square in native pixels."""
        return max(self.height, self.width)

    @property
    def top(self) -> int:
        return (self.side - self.height) // 2

    @property
    def left(self) -> int:
        return (self.side - self.width) // 2

    @property
    def pixel_scale(self) -> float:
        """Native pixels per grid pixel."""
        return self.side / self.size

    def _pad(self, frames: torch.Tensor) -> torch.Tensor:
        import torch.nn.functional as functional

        right = self.side - self.width - self.left
        bottom = self.side - self.height - self.top
        return functional.pad(frames, (self.left, right, self.top, bottom))

    def _checked(self, frames: np.ndarray | torch.Tensor) -> None:
        shape = tuple(frames.shape)
        if len(shape) != 3 or shape[1:] != (self.height, self.width):
            raise ValueError(f"frames of shape {shape}; this grid takes [N, {self.height}, {self.width}]")

    def to_square(self, frames: np.ndarray, device: str | torch.device = "cpu") -> torch.Tensor:
        """Resample frames to the model grid.

        Args:
            frames: uint8 [N, height, width].

        Returns:
            uint8 tensor [N, size, size] on ``device``.
        """
        import torch

        self._checked(frames)
        return self.stack_to_square(torch.from_numpy(np.ascontiguousarray(frames)).to(device))

    def stack_to_square(self, frames: torch.Tensor) -> torch.Tensor:
        """``to_square`` for a tensor uint8 [N, height, width], computed on its device."""
        import torch.nn.functional as functional

        self._checked(frames)
        padded = self._pad(frames[:, None])
        if self.side == self.size:
            return padded[:, 0]
        if padded.device.type == "cpu":
            # torch's uint8 kernel follows Pillow's fixed-point arithmetic and is the fastest path here
            resized = functional.interpolate(
                padded, size=(self.size, self.size), mode="bicubic", antialias=True, align_corners=False
            )
        else:
            resized = _resize_rounding_between_passes(padded, self.size)
        return resized[:, 0]

    def share_to_square(self, masks: np.ndarray) -> torch.Tensor:
        """The share of foreground at each grid pixel: the output of an ideal model.

        Args:
            masks: any integer or bool [N, height, width]; non-zero is foreground.

        Returns:
            float [N, size, size] from 0 to 1.
        """
        import torch
        import torch.nn.functional as functional

        self._checked(masks)
        stack = torch.from_numpy(np.ascontiguousarray(masks != 0)).float()[:, None]
        return functional.interpolate(
            self._pad(stack), size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False
        )[:, 0]

    def mask_to_square(self, masks: np.ndarray) -> np.ndarray:
        """Binary masks on the grid (training targets): uint8 [N, size, size], 1 where the share is >= 1/2."""
        import torch

        return (self.share_to_square(masks) >= 0.5).to(torch.uint8).numpy()

    def to_native(self, values: torch.Tensor) -> torch.Tensor:
        """Resample grid values (probabilities) to the native grid: the inverse of ``to_square``.

        Args:
            values: float [N, size, size].

        Returns:
            float [N, height, width] on the same device.
        """
        import torch.nn.functional as functional

        if values.ndim != 3 or values.shape[1:] != (self.size, self.size):
            raise ValueError(f"values of shape {tuple(values.shape)}; expected [N, {self.size}, {self.size}]")
        square = functional.interpolate(
            values.float()[:, None], size=(self.side, self.side), mode="bilinear", align_corners=False
        )
        return square[:, 0, self.top : self.top + self.height, self.left : self.left + self.width]

    def foreground_on_native(self, probabilities: torch.Tensor, threshold: float) -> torch.Tensor:
        """Foreground (p > ``threshold``) on the native grid: uint8 [N, height, width], on the same device."""
        import torch

        if probabilities.device.type == "cpu" and len(probabilities) > 1:
            # one frame at a time: its maps stay in the CPU caches
            return torch.cat([self.foreground_on_native(one[None], threshold) for one in probabilities])
        return (self.to_native(probabilities) > threshold).to(torch.uint8)

    def masks_to_native(self, probabilities: torch.Tensor, threshold: float = 0.5) -> np.ndarray:
        """Masks on the native grid: uint8 [N, height, width], 1 where p > ``threshold``."""
        return self.foreground_on_native(probabilities, threshold).cpu().numpy()
