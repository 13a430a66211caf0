"""Verification of a bundle: hashes, strict loading, and a forward pass with finite output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fetaliqa.errors import BundleError
from fetaliqa.model.bundle import Bundle
from fetaliqa.model.preprocess import normalise

TEST_FRAMES = 2
TEST_SEED = 20250730
FULL_SCALE = 256  # 8-bit grey levels


@dataclass(frozen=True)
class Verification:
    """Figures of a valid bundle.

    Attributes:
        files: files whose hash was compared.
        parameters: numbers of parameters in encoder, adapter and head.
        logit_range: smallest and largest output on noise frames.
    """

    files: tuple[str, ...]
    parameters: dict[str, int]
    logit_range: tuple[float, float]


def verify_bundle(bundle: Bundle, weights: str | Path | None = None) -> Verification:
    """Recompute all hashes, load the model strictly, and run it on noise.

    Args:
        bundle: an opened bundle.
        weights: FetalCLIP weights for a bundle that needs them; None for the user's imported ones.

    Raises:
        BundleError: when a hash differs, the model does not load, or its output is wrong.
        WeightsError: when the base weights are missing.
    """
    bundle.check_files()
    model = bundle.load_model(weights=weights)
    side = bundle.card.architecture.vision.image_size
    noise = np.random.default_rng(TEST_SEED).integers(0, FULL_SCALE, (TEST_FRAMES, side, side), dtype=np.uint8)
    with torch.inference_mode():
        logits = model(normalise(noise))
    expected = (TEST_FRAMES, 1, side, side) if bundle.card.task == "segmentation" else (TEST_FRAMES,)
    if tuple(logits.shape) != expected:
        raise BundleError(f"{bundle.directory}: output of shape {tuple(logits.shape)}; {expected} was expected")
    if not bool(torch.isfinite(logits).all()):
        raise BundleError(f"{bundle.directory}: the model's output holds values that are not finite numbers")
    return Verification(
        files=tuple(sorted(bundle.card.files)),
        parameters=bundle.parameter_counts(),
        logit_range=(float(logits.min()), float(logits.max())),
    )
