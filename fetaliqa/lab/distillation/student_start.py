"""Initial weights of the student: a compact bundle, or ImageNet weights."""

from __future__ import annotations

import torch

from fetaliqa.errors import OptionError, WeightsError
from fetaliqa.model import Bundle, BundleCard, CompactSeg, build_segmentation, load_architecture
from fetaliqa.model.architecture import BackboneConfig
from fetaliqa.model.backbone import imagenet_state
from fetaliqa.model.user_folders import SHIPPED
from fetaliqa.registry.model_store import resolve_bundle

IMAGENET = "imagenet"
ARCHITECTURE = "compact"


def starting_model(start: str | None, anatomy: str, seed: int = 0) -> tuple[CompactSeg, BundleCard | None]:
    """The initial network.

    Args:
        start: a bundle of the compact architecture (folder, name, name@version); ``imagenet``: the encoder's
            ImageNet weights and a new decoder; None: the bundle that ships for the anatomy, else ``imagenet``.
        anatomy: that is outlined.
        seed: of new layers.

    Returns:
        The network, all of it trainable, and the card of the bundle that it comes from.

    Raises:
        OptionError: for a bundle of another architecture.
        WeightsError: when the ImageNet weights are not installed.
    """
    chosen = start or (anatomy if anatomy in SHIPPED else IMAGENET)
    if chosen == IMAGENET:
        return _from_imagenet(seed), None
    bundle = Bundle.open(resolve_bundle(chosen))
    if not isinstance(bundle.card.architecture.vision, BackboneConfig) or bundle.card.task != "segmentation":
        raise OptionError(
            f"--start {chosen}: a bundle of architecture {bundle.card.architecture.name!r}; one of architecture "
            f"{ARCHITECTURE!r} is needed, such as {' or '.join(SHIPPED)}, or {IMAGENET}"
        )
    model = bundle.load_model(merge=False)
    assert isinstance(model, CompactSeg)
    return model.requires_grad_(True), bundle.card


def _from_imagenet(seed: int) -> CompactSeg:
    architecture = load_architecture(ARCHITECTURE)
    assert isinstance(architecture.vision, BackboneConfig)
    try:
        weights = imagenet_state(architecture.vision)
    except WeightsError as problem:
        raise WeightsError(f"{problem}, or name a compact bundle to start from with --start") from None
    torch.manual_seed(seed)
    model = build_segmentation(architecture, weights=weights, encoder="full")
    assert isinstance(model, CompactSeg)
    return model.requires_grad_(True)
