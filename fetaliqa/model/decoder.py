"""The segmentation decoder of FetalCLIP_SEG: UNETR-like, with depthwise separable convolutions.

Stages as in FetalCLIP-IQA's published decoder (1,591,941 parameters for a 1024-channel encoder and F = 32);
decoding transformer blocks of four depths follows UNETR (arXiv 2103.10504). All sizes follow from the encoder's
width W, F and the image side S; the coarsest grid is S / 16.

    grid     from the encoder        skip path                 merged
    S/16     tap 4, W                                          Up W > 8F
    S/8      tap 3: W > 8F           1 doubling                3 convolutions, Up 8F > 4F
    S/4      tap 2: W > 8F > 4F      2 doublings               2 convolutions, Up 4F > 2F
    S/2      tap 1: W > 8F > 4F > 2F 3 doublings               2 convolutions, Up 2F > F
    S        image: 3 > F > F                                  2 convolutions, 1 x 1 to one logit
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fetaliqa.model.architecture import DECODER_STRIDE


def _conv(channels_in: int, channels_out: int) -> nn.Sequential:
    """3 x 3 depthwise then 1 x 1, each with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in),
        nn.BatchNorm2d(channels_in),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_in, channels_out, 1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _up(channels_in: int, channels_out: int) -> nn.Sequential:
    """Depthwise upsampling by 2, then a 1 x 1 convolution."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, channels_in, 2, stride=2, groups=channels_in),
        nn.Conv2d(channels_in, channels_out, 1),
    )


def _deconv(channels_in: int, channels_out: int) -> nn.Sequential:
    """Depthwise upsampling by 2, then a depthwise separable convolution."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, channels_in, 2, stride=2, groups=channels_in),
        *_conv(channels_in, channels_out),
    )


def _chain(step: type | object, *channels: int) -> nn.Sequential:
    return nn.Sequential(*(step(a, b) for a, b in itertools.pairwise(channels)))  # type: ignore[operator]


def fuse_batch_norms(module: nn.Module) -> None:
    """Fold each batch norm into the convolution before it, in place, for faster inference.

    Args:
        module: module in eval mode. A batch norm that is the next child after a convolution is assumed to be
            applied right after it, as in ``nn.Sequential`` and timm's blocks. The activation of timm's norms is
            kept. A module with ``keeps_batch_norms`` is left as it is.
    """
    if getattr(module, "keeps_batch_norms", False):
        return
    for part in list(module.modules()):
        before: tuple[str, nn.Conv2d] | None = None
        for name, child in list(part.named_children()):
            if before is not None and isinstance(child, nn.BatchNorm2d):
                setattr(part, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(part, name, getattr(child, "act", nn.Identity()))
            before = (name, child) if isinstance(child, nn.Conv2d) else None


class UnetrDecoder(nn.Module):
    """Decoder of four encoder depths and the image into one logit per pixel.

    Args:
        width: channels of the encoder's tokens.
        init_filters: channels F at full resolution.
    """

    def __init__(self, width: int, init_filters: int) -> None:
        super().__init__()
        f1, f2, f4, f8 = (init_filters * factor for factor in (1, 2, 4, 8))
        self.up_deepest = _up(width, f8)
        self.skip_deep = _deconv(width, f8)
        self.merge_deep = nn.Sequential(_chain(_conv, 2 * f8, f8, f8, f8), _up(f8, f4))
        self.skip_middle = _chain(_deconv, width, f8, f4)
        self.merge_middle = nn.Sequential(_chain(_conv, 2 * f4, f4, f4), _up(f4, f2))
        self.skip_shallow = _chain(_deconv, width, f8, f4, f2)
        self.merge_shallow = nn.Sequential(_chain(_conv, 2 * f2, f2, f2), _up(f2, f1))
        self.skip_image = _chain(_conv, 3, f1, f1)
        self.head = nn.Sequential(_chain(_conv, 2 * f1, f1, f1), nn.Conv2d(f1, 1, 1))

    def forward(self, images: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Decode.

        Args:
            images: float [N, 3, S, S], normalised; S is a multiple of 16.
            features: four float [N, width, G, G], from the shallowest tap to the deepest, G the patch grid.

        Returns:
            Logits, float [N, 1, S, S].
        """
        shallow, middle, deep, deepest = on_decoder_grid(features, images.shape[-1] // DECODER_STRIDE)
        merged = self.merge_deep(torch.cat([self.skip_deep(deep), self.up_deepest(deepest)], dim=1))
        merged = self.merge_middle(torch.cat([self.skip_middle(middle), merged], dim=1))
        merged = self.merge_shallow(torch.cat([self.skip_shallow(shallow), merged], dim=1))
        return self.head(torch.cat([self.skip_image(images), merged], dim=1))


def on_decoder_grid(features: Sequence[torch.Tensor], grid: int) -> list[torch.Tensor]:
    """Feature maps [N, C, G, G] resampled to [N, C, grid, grid], the coarsest grid of the decoder."""
    # 16 x 16 patches of 14 pixels -> 14 x 14 cells of 16 pixels, which four doublings bring to 224
    return [
        feature
        if feature.shape[-1] == grid
        else functional.interpolate(feature, size=(grid, grid), mode="bilinear", align_corners=False)
        for feature in features
    ]
