"""A segmentation model as one TorchScript module: grey levels of frames in, probabilities on the same grid out.

The square grid (:mod:`fetaliqa.measure.square_grid`) and the rule which frames show the anatomy are inside:
whoever runs it has nothing to do, and can do nothing differently.
"""

# no `from __future__ import annotations`: TorchScript reads the types of attributes
import warnings

import torch
import torch.nn.functional as functional
from torch import nn

from fetaliqa.errors import BundleError
from fetaliqa.model import Bundle, SegmentationModel
from fetaliqa.model.preprocess import CLIP_MEAN, CLIP_STD


class ScriptNetwork(nn.Module):
    """What TorchScript compiles; see :func:`script_network`.

    Args:
        core: logits [N, 1, S, S] of images [N, 3, S, S].
        size: S, pixels.
        frame_threshold: pixels above it count for a frame to show the anatomy.
        min_foreground_fraction: more than this share of the square grid has to.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, core: nn.Module, size: int, frame_threshold: float, min_foreground_fraction: float) -> None:
        super().__init__()
        self.core = core
        self.size = size
        self.frame_threshold = frame_threshold
        self.min_foreground_fraction = min_foreground_fraction
        self.register_buffer("mean", torch.tensor(CLIP_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(CLIP_STD).view(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Outline.

        Args:
            image: grey levels 0 to 255, any type, [N, 1, H, W]: rows, then columns.

        Returns:
            float32 [N, 1, H, W], probability of each pixel; 0 in frames that do not show the anatomy.
        """
        height, width = image.shape[2], image.shape[3]
        side = max(height, width)
        left, top = (side - width) // 2, (side - height) // 2
        square = self.to_square(functional.pad(image, (left, side - width - left, top, side - height - top)))
        logits = self.core((square.float() / 255.0 - self.mean) / self.std)
        on_grid = torch.sigmoid(logits.float())
        share = (on_grid > self.frame_threshold).float().mean(dim=(1, 2, 3))
        shown = (share > self.min_foreground_fraction).view(-1, 1, 1, 1)
        native = functional.interpolate(on_grid, size=(side, side), mode="bilinear", align_corners=False)
        return native[:, :, top : top + height, left : left + width] * shown

    def to_square(self, padded: torch.Tensor) -> torch.Tensor:
        """Squares [N, 1, side, side] of grey levels as uint8 [N, 1, S, S]."""
        grey = padded.float().round().clamp(0, 255)
        if padded.shape[2] == self.size:
            return grey.to(torch.uint8)
        if not padded.is_cuda:
            return functional.interpolate(
                grey.to(torch.uint8), size=(self.size, self.size), mode="bicubic", antialias=True
            )
        # no kernel for bytes: rounded after each pass, as that one does
        columns = functional.interpolate(grey, size=(padded.shape[2], self.size), mode="bicubic", antialias=True)
        rows = functional.interpolate(
            columns.round().clamp(0, 255), size=(self.size, self.size), mode="bicubic", antialias=True
        )
        return rows.round().clamp(0, 255).to(torch.uint8)


def script_network(bundle: Bundle, weights: str | None = None) -> torch.jit.ScriptModule:
    """The model of a bundle as a TorchScript module of :class:`ScriptNetwork`'s form, on the CPU, in eval mode.

    Raises:
        BundleError: when the bundle is not a segmentation model, or its files are damaged.
        WeightsError: when it needs weights that are missing.
    """
    card = bundle.card
    if card.task != "segmentation":
        raise BundleError(f"{bundle.directory}: a {card.task} model; only segmentation models can be exported")
    model = bundle.load_model(weights=weights)
    assert isinstance(model, SegmentationModel)
    size, threshold = card.architecture.vision.image_size, card.threshold
    example = torch.zeros(2, 3, size, size)
    with warnings.catch_warnings(), torch.no_grad():
        # TorchScript is deprecated, and what MONAI bundles hold; shapes checked in Python are constants here
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        core = torch.jit.trace(model, example, check_trace=False)
        network = ScriptNetwork(core, size, threshold.frame, threshold.min_foreground_fraction)
        return torch.jit.script(network.eval())
