"""What predictors of all runtimes yield, and what an assessment needs of a predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

    from fetaliqa.model.bundle_card import BundleCard
    from fetaliqa.model.interval_file import Intervals

Value = TypeVar("Value")
TORCH, ONNXRUNTIME, OPENVINO = "torch", "onnxruntime", "openvino"  # runtimes


@dataclass(frozen=True)
class ChunkPrediction:
    """Model output for some frames of a stack.

    Attributes:
        indices: frame numbers in the stack, int [N].
        probabilities: float32 [N, S, S] on the model's square grid (segmentation), else None. Tensors of PyTorch,
            arrays of other runtimes.
        scores: float32 [N] frame probability (classification), else None.
        appearance: float [N, C], mean over the encoder's deepest map (segmentation by PyTorch), else None.
        signals: float [N, 2]: expected Dice of the outline, and distance to the training data (out of distribution
            at 1 and more); None if the model does not provide them.
        computed: event after the computation on CUDA, so that reading does not wait for later batches.
    """

    indices: np.ndarray
    probabilities: Any
    scores: np.ndarray | None
    appearance: torch.Tensor | None = None
    signals: Any = None
    computed: torch.cuda.Event | None = None


class FramePredictor(Protocol):
    """A loaded model that computes probabilities of frames: ``Predictor`` or ``GraphPredictor``.

    Attributes:
        card: of the model's bundle.
        is_segmentation: whether it outlines; else it classifies frames.
        image_size: side of its square grid, pixels.
        threads: that measure frames while the next batch is computed; 0 for the caller's.
        device: where it computes.
        runtime: the library that computes.
        intervals: calibration of its intervals, or why there is none.
    """

    card: BundleCard
    is_segmentation: bool
    image_size: int
    threads: int
    device: Any
    runtime: str
    intervals: Intervals

    def predict(self, frames: np.ndarray, indices: np.ndarray) -> Iterator[ChunkPrediction]:
        """Predict selected frames, int [N], of a stack uint8 [T, H, W], one batch at a time."""
        ...


def told_of_full_device(work: Callable[[], Value], predictor: FramePredictor) -> Value:
    """Call ``work()``, which computes with ``predictor``, and return its result.

    Raises:
        DeviceFull: when PyTorch's device runs out of memory.
    """
    if predictor.runtime != TORCH:
        return work()
    from fetaliqa.inference.batch_halving import told_when_full

    return told_when_full(work, predictor.device)
