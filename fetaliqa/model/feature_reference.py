"""Where a compact model's training data lie among its features: what lies far away is called unlike them.

One Gaussian for all of them, and the Mahalanobis distance to it, after Lee et al. 2018 (arXiv 1807.03888, which
has one mean for each class). Its covariance is shrunk (Ledoit and Wolf 2004), as there may be fewer images than
channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from fetaliqa.errors import TrainingError
from fetaliqa.model.preprocess import normalise

if TYPE_CHECKING:
    from fetaliqa.model.compact_model import CompactSeg

FOLDS = 5  # the limit is taken from distances of images to a Gaussian that was fitted without them
LEAST_IMAGES = 20  # a Gaussian of fewer, and their largest distance, say nothing


def fit_reference(
    model: CompactSeg, squares: Iterable[np.ndarray | torch.Tensor], *, share_beyond: float = 0.01
) -> None:
    """Fit ``model.decoder.reference`` to training images. To be done last: further training moves features.

    The limit is the distance that ``share_beyond`` of the images exceed when the Gaussian is fitted to others:
    they are left out in five consecutive parts. So give images of one patient one after another.

    Args:
        model: changed in place; its mode, and whether it is trained further, stay as they are.
        squares: batches of training images, uint8 [N, S, S], as the predictor makes them: of everything that the
            model is to know, with and without the anatomy. As they are: augmented ones lie so far apart that
            hardly anything is unlike them.
        share_beyond: share of images like these that are to be called unlike the training data; with fewer than
            1 / ``share_beyond`` images the limit is the largest distance.

    Raises:
        TrainingError: when there are too few images, or they are all alike.
        ValueError: when the share is not in (0, 1).
    """
    if not 0 < share_beyond < 1:
        raise ValueError(f"share_beyond is {share_beyond}; a number between 0 and 1 is needed")
    features = _features(model, squares)
    if len(features) < LEAST_IMAGES:
        raise TrainingError(
            f"{len(features)} images to tell others from; at least {LEAST_IMAGES} are needed, "
            "give more of the training images"
        )
    distances = [
        _distances(part, *_gaussian(np.delete(features, own, axis=0)))
        for own in np.array_split(np.arange(len(features)), FOLDS)
        for part in (features[own],)
    ]
    mean, whitening = _gaussian(features)
    limit = np.quantile(np.concatenate(distances), 1 - share_beyond, method="higher")
    reference = model.decoder.reference
    with torch.no_grad():
        for name, value in (("mean", mean), ("whitening", whitening), ("limit", [limit])):
            getattr(reference, name).copy_(torch.as_tensor(value))


@torch.no_grad()
def _features(model: CompactSeg, squares: Iterable[np.ndarray | torch.Tensor]) -> np.ndarray:
    """float64 [N, C] of all images."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        found = [
            model.reference_features(normalise(torch.as_tensor(batch).to(device))).double().cpu().numpy()
            for batch in squares
        ]
    finally:
        model.train(training)
    return np.concatenate(found) if found else np.empty((0, 0))


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [C], and whitening [C, C]: the inverse square root of the covariance.

    Raises:
        TrainingError: when nothing varies.
    """
    from sklearn.covariance import ledoit_wolf

    mean = features.mean(axis=0)
    values, vectors = np.linalg.eigh(ledoit_wolf(features)[0])
    if not values[-1] > 0:
        raise TrainingError("the images are all alike to the model; give different training images")
    least = values[-1] * np.finfo(np.float32).eps  # shrinkage keeps real ones far above
    return mean, (vectors / np.sqrt(np.maximum(values, least))) @ vectors.T


def _distances(features: np.ndarray, mean: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    return np.linalg.norm((features - mean) @ whitening.T, axis=1)
