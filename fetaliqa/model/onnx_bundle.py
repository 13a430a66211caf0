"""Bundles as ONNX models; without torch for the compact architecture, whose graph ships without weights."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from fetaliqa.errors import BundleError
from fetaliqa.model.architecture import load_architecture
from fetaliqa.model.bundle import Bundle
from fetaliqa.model.bundle_card import BASE_FILE, HEAD_FILE, BundleCard, Threshold
from fetaliqa.model.onnx_file import OnnxModel, with_metadata, with_weights

MODEL_PREFIX = "model."  # of the weights in an exported graph
PARTS = {BASE_FILE: "visual.", HEAD_FILE: "decoder."}  # prefixes of the weights of a bundle's files
COUNTERS = "num_batches_tracked"
GRAPH_FILE = "compact.onnx"


def has_shipped_graph(card: BundleCard) -> bool:
    """Whether the graph that ships is that of a bundle."""
    compact = load_architecture("compact")
    sizes = (card.architecture.vision, card.architecture.decoder)
    pixels = card.threshold.min_foreground_pixels(card.architecture.vision.image_size)
    return sizes == (compact.vision, compact.decoder) and pixels == Threshold().min_foreground_pixels()


def onnx_bundle(bundle: Bundle, weights: str | Path | None = None) -> OnnxModel:
    """A bundle as an ONNX model in memory.

    Args:
        bundle: an opened bundle.
        weights: foundation-model weights, where it needs them; None for the imported ones.

    Raises:
        BundleError: when its files are damaged.
        OptionError: when the packages that export its architecture are missing.
    """
    if has_shipped_graph(bundle.card):
        graph = with_weights(shipped_graph(), _weights(bundle))
    else:
        from fetaliqa.model.graph_export import exported  # loads torch

        graph = exported(bundle.load_model(weights=weights), bundle.card)
    content = with_metadata(graph, bundle.card, bundle.fingerprint, bundle.intervals)
    return OnnxModel(content, bundle.card, bundle.fingerprint, str(bundle.directory), bundle.intervals)


def shipped_graph() -> bytes:
    """The graph of the compact architecture, without weights."""
    return (resources.files("fetaliqa.model") / "graphs" / GRAPH_FILE).read_bytes()


def _weights(bundle: Bundle) -> dict[str, np.ndarray]:
    weights = {}
    for file, prefix in PARTS.items():
        for name, values in bundle.arrays(file).items():
            if name.endswith(COUNTERS):
                continue
            if not np.isfinite(values).all():
                raise BundleError(f"{bundle.directory / file}: {name!r} holds values that are not finite numbers")
            weights[prefix + name] = values
    return weights
