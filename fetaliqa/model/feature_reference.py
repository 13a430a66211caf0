"""Out-of-distribution detection for the compact model: fitting the distribution of its training features.

A single Gaussian and the Mahalanobis distance to it, after Lee et al. 2018 (arXiv 1807.03888, with one mean per
class). The covariance is shrunk (Ledoit and Wolf 2004), as there may be fewer images than channels.
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

FOLDS = 5  # of the cross-validation that determines the limit
LEAST_IMAGES = 20  # fewer images do not determine a Gaussian and a limit


def fit_reference(
    model: CompactSeg, squares: Iterable[np.ndarray | torch.Tensor], *, share_beyond: float = 0.01
) -> None:
    """Fit ``model.decoder.reference`` to training images. Call it after training, which changes features.

    The limit is the distance that ``share_beyond`` of the images exceed in five-fold cross-validation over
    consecutive parts. Images of one patient should therefore be consecutive.

    Args:
        model: changed in place; its training mode and trainable parameters stay the same.
        squares: batches of training images, uint8 [N, S, S], as the predictor makes them, with and without the
            anatomy. Without augmentation: augmented images are spread so far that hardly any image is out of
            distribution.
        share_beyond: share of in-distribution images that exceed the limit; with fewer than 1 / ``share_beyond``
            images the limit is the largest distance.

    Raises:
        TrainingError: when there are too few images, or they are all equal.
        ValueError: when the share is not in (0, 1).
    """
    if not 0 < share_beyond < 1:
        raise ValueError(f"share_beyond is {share_beyond}; a number between 0 and 1 is needed")
    features = _features(model, squares)
    if len(features) < LEAST_IMAGES:
        raise TrainingError(
            f"{len(features)} images to fit the reference distribution; at least {LEAST_IMAGES} are needed, "
            "give more training images"
        )
    distances = [
        _distances(features[fold], *_gaussian(np.delete(features, fold, axis=0)))
        for fold in np.array_split(np.arange(len(features)), FOLDS)
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
        features = [
            model.reference_features(normalise(torch.as_tensor(batch).to(device))).double().cpu().numpy()
            for batch in squares
        ]
    finally:
        model.train(training)
    return np.concatenate(features) if features else np.empty((0, 0))


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [C], and whitening [C, C]: the inverse square root of the covariance.

    Raises:
        TrainingError: when the features do not vary.
    """
    from sklearn.covariance import ledoit_wolf

    mean = features.mean(axis=0)
    values, vectors = np.linalg.eigh(ledoit_wolf(features)[0])
    if not values[-1] > 0:
        raise TrainingError("the model's features of all images are equal; give different training images")
    least = values[-1] * np.finfo(np.float32).eps  # guards against rounding; shrunk eigenvalues are far above
    return mean, (vectors / np.sqrt(np.maximum(values, least))) @ vectors.T


def _distances(features: np.ndarray, mean: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    return np.linalg.norm((features - mean) @ whitening.T, axis=1)
