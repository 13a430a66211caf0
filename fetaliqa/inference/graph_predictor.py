"""A predictor of an ONNX graph: the same outputs as ``Predictor``, without torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.inference.chunk_prediction import OPENVINO, ChunkPrediction
from fetaliqa.inference.graph_runtimes import compiled
from fetaliqa.measure.array_resampling import square_arrays
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model.onnx_file import OnnxModel

BATCH = 4  # frames; its maps stay in the caches of the CPU
TOLERANCE = 2  # grey levels of duplicate frames, as in `duplicate_frames`
SIGNALS = ("expected_dice", "distance")

Outputs = dict[str, np.ndarray]


class GraphPredictor:
    """An ONNX model, compiled once and ready to predict on the CPU.

    Args:
        model: to compile.
        runtime: ``onnxruntime`` or ``openvino``.
        precision: ``fp32``, or for OpenVINO ``bf16``.
        batch_size: frames at a time.

    Raises:
        OptionError: for a precision that the runtime does not have.
        BundleError: when the runtime refuses the graph.
    """

    threads = 0
    device = "cpu"

    def __init__(self, model: OnnxModel, runtime: str, precision: str = "fp32", batch_size: int = BATCH) -> None:
        self.card, self.fingerprint, self.runtime = model.card, model.fingerprint, runtime
        self.intervals = model.intervals
        self.precision = graph_precision(precision, runtime)
        self.is_segmentation = model.card.task == "segmentation"
        self.image_size = model.card.architecture.vision.image_size
        self.batch_size = batch_size
        self._compute = compiled(model, runtime, self.precision)

    def predict(self, frames: np.ndarray, indices: np.ndarray) -> Iterator[ChunkPrediction]:
        """Predict selected frames of a stack, one batch at a time; duplicate frames are encoded once.

        Args:
            frames: uint8 [T, H, W].
            indices: frame numbers to predict, int [N].

        Yields:
            One ChunkPrediction per batch, in the order of ``indices``.
        """
        grid = SquareGrid(int(frames.shape[1]), int(frames.shape[2]), self.image_size)
        duplicates = _Duplicates()
        last: Outputs | None = None  # of the last encoded frame
        for start in range(0, len(indices), self.batch_size):
            chunk = indices[start : start + self.batch_size]
            squares = square_arrays(grid, frames[chunk])
            new, sources = duplicates.sources(squares)
            outputs = self._compute(squares[new]) if new else None
            available = [part for part in (last, outputs) if part is not None]
            joined = {name: np.concatenate([part[name] for part in available]) for name in available[0]}
            places = np.array(sources) - (1 if last is None else 0)
            yield self._chunk(chunk, {name: values[places] for name, values in joined.items()})
            last = {name: values[-1:] for name, values in joined.items()}

    def _chunk(self, indices: np.ndarray, outputs: Outputs) -> ChunkPrediction:
        if not self.is_segmentation:
            return ChunkPrediction(indices, None, outputs["frame_score"])
        signals = None
        if all(name in outputs for name in SIGNALS):
            signals = np.stack([outputs[name] for name in SIGNALS], axis=1)
        return ChunkPrediction(indices, outputs["probabilities"], None, None, signals)


def graph_precision(name: str, runtime: str) -> str:
    """Resolve a precision option: ``auto`` is ``fp32``.

    Raises:
        OptionError: when the runtime does not have it.
    """
    if name == "bf16" and runtime != OPENVINO:
        raise OptionError(
            f"precision is bf16, which {runtime} does not have; use auto or fp32, or --runtime openvino"
        )
    return "bf16" if name == "bf16" else "fp32"


class _Duplicates:
    """``DuplicateFrames`` for arrays: a duplicate is like the frame before it and like the last encoded one."""

    def __init__(self) -> None:
        self._encoded: np.ndarray | None = None

    def sources(self, squares: np.ndarray) -> tuple[list[int], list[int]]:
        """See ``DuplicateFrames.sources``."""
        encoded: list[int] = []
        sources: list[int] = []
        before = self._encoded
        for position, square in enumerate(squares):
            if self._encoded is None or not (_alike(square, before) and _alike(square, self._encoded)):
                self._encoded = square
                encoded.append(position)
            sources.append(len(encoded))
            before = square
        return encoded, sources


def _alike(one: np.ndarray, other: np.ndarray | None) -> bool:
    if other is None:
        return False
    return int((np.maximum(one, other) - np.minimum(one, other)).max()) <= TOLERANCE
