"""Reduced baselines: small networks of the same families for frames of 64 pixels, for runs on a CPU.

DenseNet-121 and EfficientNet-B0 are used as they are; the others are too large to train without an accelerator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

REDUCED_SIZE = 64  # pixels; side of the input


def reduced_backbone(key: str) -> nn.Module:
    """The small stand-in of baseline ``key``, with random weights."""
    return _BUILDERS[key]()


def _named(name: str) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, num_classes=0)


def _vgg() -> nn.Module:
    from timm.models.vgg import VGG

    # an eighth of the dense layers' width, which hold nine tenths of VGG's parameters
    return VGG([16, "M", 32, "M", 64, 64, "M", 64, 64, "M"], num_classes=0, mlp_ratio=0.125)


def _swin() -> nn.Module:
    from timm.models.swin_transformer import SwinTransformer

    return SwinTransformer(
        img_size=REDUCED_SIZE, window_size=4, embed_dim=32, depths=(2, 2, 2), num_heads=(1, 2, 4), num_classes=0
    )


def _vit(width: int = 96, depth: int = 4, **options: Any) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=REDUCED_SIZE, patch_size=8, embed_dim=width, depth=depth, num_heads=3, num_classes=0, **options
    )


def _deit() -> nn.Module:
    # DeiT-III starts its layer scales at 1e-6, where blocks of a random, frozen backbone would do nothing
    return _vit(no_embed_class=True, init_values=0.1)


def _clip_vit() -> nn.Module:
    return _vit(pre_norm=True)


_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "densenet": lambda: _named("densenet121"),
    "efficientnet": lambda: _named("efficientnet_b0"),
    "vgg": _vgg,
    "swin": _swin,
    "deit": _deit,
    "vit": _clip_vit,
    "vit_laion": _clip_vit,
    "vit_small": lambda: _vit(depth=6),
}
