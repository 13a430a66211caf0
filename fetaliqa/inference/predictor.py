"""Predictor: a loaded model on a device, which computes probabilities of frames in batches."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast
from weakref import WeakMethod

import numpy as np
import torch

from fetaliqa.errors import OptionError
from fetaliqa.inference.batch_halving import Compute, HalvingForward
from fetaliqa.inference.chunk_prediction import TORCH, ChunkPrediction
from fetaliqa.inference.cuda_graphs import CapturedForward
from fetaliqa.inference.cuda_transfers import Lane, mark, on_host, reading, send, take_over
from fetaliqa.inference.devices import choose_device
from fetaliqa.inference.duplicate_frames import DuplicateFrames
from fetaliqa.inference.model_outputs import Outputs, joined
from fetaliqa.inference.packed_convolutions import pack_convolutions
from fetaliqa.inference.packed_weights import pack_encoder
from fetaliqa.inference.precision import set_precision
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model import (
    Bundle,
    BundleCard,
    CompactSeg,
    EncoderModel,
    FetalCLIPSeg,
    SegmentationModel,
    normalise,
)
from fetaliqa.model.compact_model import combined, reference_features
from fetaliqa.model.decoder import UnetrDecoder
from fetaliqa.model.fast_decoder import FastDecoder
from fetaliqa.model.interval_file import Intervals

CPU_BATCH = 16  # frames; larger batches do not make the encoder's matrix products faster
CUDA_BATCH = 64
CUDA_AHEAD = 2  # batches: while one is measured, one is computed and one is prepared
CUDA_THREADS = 8  # largest number of measuring threads
ONE_VIEW = "intervals are calibrated for one view of a frame, and several are averaged"
VIEWS: dict[int, tuple[tuple[int, ...], ...]] = {1: ((),), 2: ((), (-1,)), 4: ((), (-1,), (-2,), (-1, -2))}


@dataclass(frozen=True)
class _Batch:
    """A batch of frames, prepared for the model.

    Attributes:
        indices: frame numbers in the stack, int [N].
        squares: uint8 [n, S, S], the frames to encode.
        places: int [N], row of each frame's outputs in the last frame's outputs of the previous batch (if any)
            followed by those of ``squares``; None when every frame is encoded.
        prepared: event after the preparation on CUDA.
    """

    indices: np.ndarray
    squares: torch.Tensor
    places: torch.Tensor | None
    prepared: torch.cuda.Event | None


class Predictor:
    """A bundle loaded once and ready to predict.

    Attributes:
        runtime: the library that computes.
        ahead: batches that are started before a result is yielded; 0 on a CPU, where nothing overlaps.
        threads: threads that measure frames while the next batch is computed; 0 to measure in the caller's thread.

    Args:
        bundle: the model bundle.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        batch_size: frames per forward pass; None chooses by device.
        weights: path of foundation-model weights; None uses the user's cache.
        precision: ``auto``, ``fp32`` or ``bf16``, see ``inference.precision``.
        views: test-time augmentation by flips, with averaged outputs: 1, none; 2, also flipped left to right; 4,
            also both flipped upside down. Takes two or four times as long; for models trained with such flips.

    Raises:
        OptionError: when the device does not exist here, or ``views`` is another number.
    """

    runtime = TORCH
    ahead = 0
    threads = 0
    captured: CapturedForward | None = None
    intervals = Intervals()  # of a bundle; a model without one has none

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        *,
        batch_size: int | None = None,
        weights: str | None = None,
        precision: str = "auto",
        views: int = 1,
    ) -> None:
        if views not in VIEWS:
            raise OptionError(f"{views} views of a frame; {', '.join(map(str, VIEWS))} are possible")
        self.device = choose_device(device)
        model = bundle.load_model(weights=weights, device=self.device)
        self.fingerprint = bundle.fingerprint
        self.intervals = bundle.intervals if views == 1 else Intervals(absent=ONE_VIEW)
        self._use(model, bundle.card, batch_size, precision, views)

    @classmethod
    def of_model(
        cls, model: EncoderModel, card: BundleCard, *, precision: str = "auto", batch_size: int | None = None
    ) -> Predictor:
        """A predictor of a loaded model in eval mode with merged adapters; the model is modified for inference."""
        predictor = cls.__new__(cls)
        predictor.device, predictor.fingerprint = next(model.parameters()).device, ""
        predictor._use(model, card, batch_size, precision, 1)
        return predictor

    def _use(
        self, model: EncoderModel, card: BundleCard, batch_size: int | None, precision: str, views: int
    ) -> None:
        self.model, self.card, self.views = model, card, VIEWS[views]
        if isinstance(model, FetalCLIPSeg) and isinstance(model.decoder, UnetrDecoder):
            model.decoder = FastDecoder(model.decoder)  # type: ignore[assignment]
        self.batch_size = batch_size or (CUDA_BATCH if self.device.type == "cuda" else CPU_BATCH)
        self.precision = set_precision(model, precision, self.device)
        if self.device.type == "cpu":
            pack_encoder(model, self.precision)
            if isinstance(model, CompactSeg):
                pack_convolutions(model, self.batch_size)
        self.is_segmentation = card.task == "segmentation"
        self.image_size = card.architecture.vision.image_size
        # weak: an unused predictor is freed at once, without waiting for the garbage collector
        computed, forward = WeakMethod(self._computed), WeakMethod(self._forward)
        self._halving = HalvingForward(lambda squares: cast(Compute, computed())(squares), self.device)
        if self.device.type == "cuda":
            self.ahead, self.threads = CUDA_AHEAD, min(CUDA_THREADS, os.cpu_count() or 1)
            self.captured = CapturedForward(lambda squares: cast(Compute, forward())(squares), self.batch_size)

    def _computed(self, squares: torch.Tensor) -> Outputs:
        return self._forward(squares) if self.captured is None else self.captured(squares)

    @torch.inference_mode()
    def _forward(self, squares: torch.Tensor) -> Outputs:
        """Probabilities averaged over the views, and the appearance of the original frames."""
        images = normalise(squares)
        first = self._answers(images)
        total = first.probabilities
        for axes in self.views[1:]:
            flipped = torch.sigmoid(self.model(images.flip(axes)).float())
            total = total + (flipped.flip(axes) if flipped.ndim == 4 else flipped)
        return first._replace(probabilities=total / len(self.views))

    def _answers(self, images: torch.Tensor) -> Outputs:
        if isinstance(self.model, CompactSeg):
            outputs = self.model.outputs(images)
            distance = self.model.decoder.reference(reference_features(outputs.maps))
            signals = torch.stack([torch.sigmoid(outputs.dice.float()), distance], dim=1)
            return Outputs(torch.sigmoid(combined(outputs)), outputs.embedding.float(), signals)
        if isinstance(self.model, SegmentationModel):
            logits, maps = self.model.outline_and_maps(images)
            return Outputs(torch.sigmoid(logits.float()), maps[-1].float().mean(dim=(2, 3)))
        return Outputs(torch.sigmoid(self.model(images).float()))

    def predict(self, frames: np.ndarray, indices: np.ndarray) -> Iterator[ChunkPrediction]:
        """Predict selected frames of a stack, one batch at a time; duplicate frames are encoded once.

        Args:
            frames: uint8 [T, H, W].
            indices: frame numbers to predict, int [N].

        Yields:
            One ChunkPrediction per batch, in the order of ``indices``.

        Raises:
            DeviceFull: when the device has no memory for a single frame.
        """
        last: list[Outputs] = []  # outputs of the last frame of the previous batch, if any
        started: deque[tuple[np.ndarray, Outputs, torch.cuda.Event | None]] = deque()
        for batch in self._batches(frames, indices):
            outputs = self._started(batch, last)
            last = [outputs.each(lambda part: part[-1:].clone())]
            started.append((batch.indices, outputs, mark(self.device)))
            if len(started) > self.ahead:
                yield self._chunk(*started.popleft())
        for batch_outputs in started:
            yield self._chunk(*batch_outputs)

    def _started(self, batch: _Batch, last: list[Outputs]) -> Outputs:
        """Start the computation of a batch; on CUDA its outputs are ready later."""
        available = list(last)
        if len(batch.squares):
            squares = take_over(batch.squares, batch.prepared)
            available.append(self._halving(squares))
        if batch.places is None:
            return available[-1]
        places = take_over(batch.places, batch.prepared)
        return joined(available).each(lambda part: part[places])

    def _chunk(self, indices: np.ndarray, outputs: Outputs, computed: torch.cuda.Event | None) -> ChunkPrediction:
        probabilities = outputs.probabilities
        if self.is_segmentation:
            return ChunkPrediction(
                indices, probabilities[:, 0], None, outputs.appearance, outputs.signals, computed
            )
        with reading(self.device, computed):
            return ChunkPrediction(indices, None, on_host(probabilities).numpy())

    def _batches(self, frames: np.ndarray, indices: np.ndarray) -> Iterator[_Batch]:
        """Resample frames to the model's grid, and select those to encode."""
        grid = SquareGrid(int(frames.shape[1]), int(frames.shape[2]), self.image_size)
        duplicates, lane = DuplicateFrames(), Lane(self.device, "frames in")
        for start in range(0, len(indices), self.batch_size):
            chunk = indices[start : start + self.batch_size]
            with lane.queue():
                squares = grid.stack_to_square(send(frames, chunk, self.device))
                encoded, sources = duplicates.sources(squares)
                places = None
                if len(encoded) < len(chunk):
                    squares = squares[encoded]
                    places = torch.tensor(sources, device=self.device) - (1 if start == 0 else 0)
                batch = _Batch(chunk, squares, places, mark(self.device))
            yield batch
