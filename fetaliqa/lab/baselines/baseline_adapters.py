"""Placement of low-rank adapters (LoRA) in a baseline.

The same kinds of layers in every transformer as in FetalCLIP: the attention's output projection and both linears
of the MLP, in every block, and nothing else. The released code names ``proj``, ``fc1`` and ``fc2`` instead, which
also reaches the patch embedding (``patch_embed.proj``, a convolution); ``as_released`` does the same.

For convolutional networks the paper prints a LoRA row (table 3, DenseNet), but the released targets match no layer
of DenseNet or EfficientNet. **Our own choice** there: every ungrouped 1 x 1 and 3 x 3 convolution except the stem
(the one that reads the image, a convolutional network's patch embedding).
"""

from __future__ import annotations

import re

from torch import nn

from fetaliqa.errors import OptionError
from fetaliqa.lab.baselines.baseline_networks import Baseline
from fetaliqa.model.lora import ADAPTER_NAME, LoraSettings

BLOCK_LAYERS = re.compile(r".*blocks\.\d+\.(attn\.proj|mlp\.fc1|mlp\.fc2)")  # timm's names inside a block
RELEASED_NAMES = ("proj", "fc1", "fc2")
MAX_KERNEL = 3  # pixels; larger kernels (7 x 7 stems, VGG's first dense layer) are not adapted
IMAGE_CHANNELS = 3


def adapted_layers(backbone: nn.Module, baseline: Baseline, as_released: bool) -> list[str]:
    """Names of the layers that get an adapter.

    Raises:
        OptionError: when there are none, as for the released targets on DenseNet and EfficientNet.
    """
    if as_released:
        names = [name for name, _ in backbone.named_modules() if name.rsplit(".", 1)[-1] in RELEASED_NAMES]
    elif baseline.transformer:
        names = [name for name, _ in backbone.named_modules() if BLOCK_LAYERS.fullmatch(name)]
    else:
        names = [name for name, module in backbone.named_modules() if _is_adapted_convolution(module)]
    if not names:
        raise OptionError(
            f"the released code's adapter targets ({', '.join(RELEASED_NAMES)}) match no layer of "
            f"{baseline.label}; leave as_released out to adapt its convolutions, or use strategy full"
        )
    return names


def add_adapters(backbone: nn.Module, baseline: Baseline, as_released: bool) -> None:
    """Freeze the backbone and put fresh adapters (rank 8, alpha 16, dropout 0.1) into it, in place.

    Raises:
        OptionError: when no layer is adapted.
    """
    names = adapted_layers(backbone, baseline, as_released)
    # imported here: peft takes seconds to import
    from peft import LoraConfig, inject_adapter_in_model

    settings = LoraSettings()  # rank, alpha and dropout as for FetalCLIP; only the layers' names differ
    backbone.requires_grad_(False)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        bias="none",
        # a regular expression for full names: peft matches a list of names with the end of each name
        target_modules="|".join(re.escape(name) for name in names),
    )
    inject_adapter_in_model(config, backbone, adapter_name=ADAPTER_NAME)


def _is_adapted_convolution(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == 1
        and max(module.kernel_size) <= MAX_KERNEL
        and module.in_channels != IMAGE_CHANNELS
    )
