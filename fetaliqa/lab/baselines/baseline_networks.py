"""The baseline networks, by their timm names and weight tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from fetaliqa.errors import OptionError

Strategy = Literal["linear", "full", "lora"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)


@dataclass(frozen=True)
class Baseline:
    """A comparison model.

    Attributes:
        key: short name, as on the command line.
        label: name for tables.
        timm_id: timm architecture and weights, ``architecture.tag``.
        strategy: what the paper trains: head alone (``linear``), all (``full``), or head and adapters (``lora``).
        paper_millions: trainable parameters in millions, as the paper prints them ("7.0"); None: not given.
        transformer: whether it is made of attention blocks; decides where adapters go.
        note: note for tables; may be empty.
    """

    key: str
    label: str
    timm_id: str
    strategy: Strategy
    paper_millions: str | None
    transformer: bool
    note: str = ""


_ALL = (
    Baseline("densenet", "DenseNet-121", "densenet121.ra_in1k", "full", "7.0", False),
    Baseline("efficientnet", "EfficientNet-B0", "efficientnet_b0.ra_in1k", "full", "4.0", False),
    Baseline("vgg", "VGG-16", "vgg16.tv_in1k", "full", "134", False),
    Baseline("swin", "Swin-L", "swin_large_patch4_window7_224.ms_in22k_ft_in1k", "lora", "1.7", True),
    Baseline("deit", "DeiT-III-L", "deit3_large_patch16_224.fb_in22k_ft_in1k", "lora", "2.4", True),
    Baseline(
        "vit",
        "ViT-L/14 WIT-400M",
        "vit_large_patch14_clip_224.openai_ft_in12k_in1k",
        "lora",
        "2.4",
        True,
        "CLIP's image encoder (WIT-400M), fine-tuned on ImageNet-12k and -1k; that the paper's 'ViT400M' is this "
        "one is our reading of the released code",
    ),
    Baseline(
        "vit_laion", "ViT-L/14 LAION-2B", "vit_large_patch14_clip_224.laion2b_ft_in12k_in1k", "lora", None, True
    ),
    Baseline("vit_small", "ViT-S/16", "vit_small_patch16_224.augreg_in21k_ft_in1k", "full", None, True),
)
BASELINES: dict[str, Baseline] = {baseline.key: baseline for baseline in _ALL}


def baseline_named(key: str) -> Baseline:
    """The baseline called ``key``.

    Raises:
        OptionError: when there is none.
    """
    if key not in BASELINES:
        raise OptionError(f"unknown baseline {key!r}; known: {', '.join(BASELINES)}")
    return BASELINES[key]
