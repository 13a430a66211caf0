"""Scorers: models as seen by the evaluation, with one score per frame and pixel probabilities."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch

from fetaliqa.inference.predictor import Predictor
from fetaliqa.model import BundleCard


class FrameAnswers(NamedTuple):
    """Outputs of a model for n frames.

    Attributes:
        scores: float [n] in [0, 1].
        positive: bool [n], predicted positive.
        probabilities: pixel probabilities, float [n, G, G] on the square grid; None for a classification model.
        signals: float [n, 2], see ``ChunkPrediction``; None if the model has none.
    """

    scores: np.ndarray
    positive: np.ndarray
    probabilities: torch.Tensor | None = None
    signals: torch.Tensor | None = None


class FrameScorer(Protocol):
    """Interface of a model in the evaluation.

    Attributes:
        card: the bundle's card: task, threshold, anatomy.
        fingerprint: SHA-256 (hex) that changes when the model does.
        image_size: side G of the square grid, in pixels.
    """

    card: BundleCard
    fingerprint: str
    image_size: int

    def predict(self, frames: np.ndarray) -> FrameAnswers:
        """Score frames, uint8 [n, H, W]."""
        ...


class BundleScorer:
    """A loaded bundle as a scorer.

    The score of a classifier is its probability. The score of a segmentation model is its k-th largest pixel
    probability, where k is the least number of foreground pixels of a positive frame (502 on a 224 x 224 grid): at
    any pixel threshold p the frame is positive exactly when the score is greater than p.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.card = predictor.card
        self.fingerprint = predictor.fingerprint
        self.image_size = predictor.image_size

    def predict(self, frames: np.ndarray) -> FrameAnswers:
        chunks = list(self._predictor.predict(frames, np.arange(len(frames))))
        probabilities = [chunk.probabilities for chunk in chunks if chunk.probabilities is not None]
        if probabilities:
            pixels = torch.cat(probabilities)
            scores = frame_scores(pixels, self.card.threshold.min_foreground_pixels(pixels.shape[-1]))
            signals = [chunk.signals for chunk in chunks if chunk.signals is not None]
            positive = scores > self.card.threshold.frame
            return FrameAnswers(scores, positive, pixels, torch.cat(signals) if signals else None)
        scores = np.concatenate([chunk.scores for chunk in chunks if chunk.scores is not None] or [np.empty(0)])
        scores = scores.astype(np.float64)
        return FrameAnswers(scores, scores > self.card.threshold.frame)


def frame_scores(probabilities: torch.Tensor, pixels: int) -> np.ndarray:
    """The ``pixels``-th largest probability of each frame of [n, G, G]: float [n].

    Raises:
        ValueError: when a frame has fewer pixels.
    """
    flat = probabilities.flatten(1)
    if not 1 <= pixels <= flat.shape[1]:
        raise ValueError(f"rank {pixels} of {flat.shape[1]} pixels; 1 to {flat.shape[1]} is possible")
    return flat.topk(pixels, dim=1, sorted=False).values.amin(dim=1).cpu().numpy().astype(np.float64)
