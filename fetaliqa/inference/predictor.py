"""A loaded model on a device: frames in, probabilities out, in batches of bounded memory."""

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
from fetaliqa.inference.cuda_graphs import CapturedForward
from fetaliqa.inference.cuda_transfers import Lane, mark, on_host, reading, send, take_over
from fetaliqa.inference.devices import choose_device
from fetaliqa.inference.duplicate_frames import AlikeFrames
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

CPU_BATCH = 16  # frames; more make the encoder's matrix products no faster
CUDA_BATCH = 64
CUDA_AHEAD = 2  # batches: while one is measured, one is computed and one is ready to be
CUDA_THREADS = 8  # at most
VIEWS: dict[int, tuple[tuple[int, ...], ...]] = {1: ((),), 2: ((), (-1,)), 4: ((), (-1,), (-2,), (-1, -2))}


@dataclass(frozen=True)
class ChunkPrediction:
    """Model output for some frames of a stack.

    Attributes:
        indices: frame numbers in the stack, int [N].
        probabilities: float32 [N, S, S] on the model's square grid (segmentation), else None.
        scores: float32 [N] frame probability (classification), else None.
        appearance: float [N, C], mean over the encoder's deepest map (segmentation), else None.
        signals: float [N, 2], of a model that gives them: expected Dice of the outline; distance to the training
            data, 1 and more of which is unlike them.
        computed: on CUDA, when these are; so that who reads them need not wait for the batches after them.
    """

    indices: np.ndarray
    probabilities: torch.Tensor | None
    scores: np.ndarray | None
    appearance: torch.Tensor | None = None
    signals: torch.Tensor | None = None
    computed: torch.cuda.Event | None = None


@dataclass(frozen=True)
class _Batch:
    """Frames on their way into the model.

    Attributes:
        indices: frame numbers in the stack, int [N].
        squares: uint8 [n, S, S] of those that are encoded.
        places: int [N], whose answer each frame has, in the row of the last answer before (where there is one) and
            of the encoded frames' answers; None: each has its own.
        prepared: on CUDA, when these are there.
    """

    indices: np.ndarray
    squares: torch.Tensor
    places: torch.Tensor | None
    prepared: torch.cuda.Event | None


class Predictor:
    """A bundle loaded once and ready to predict.

    Attributes:
        ahead: batches that are started before one is handed out; 0 on a CPU, which has nothing to overlap.
        threads: that measure a batch's frames while the next is computed; 0: whoever asks does it, in between.

    Args:
        bundle: the model bundle.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        batch_size: frames per forward pass; None chooses by device.
        weights: path of foundation-model weights; None uses the user's cache.
        precision: ``auto``, ``fp32`` or ``bf16``, see ``inference.precision``.
        views: pictures per frame whose answers are averaged: 1, the frame itself; 2, also mirrored left to right;
            4, also both turned upside down. Twice or four times the time; for models trained on such pictures.

    Raises:
        OptionError: when the device does not exist here, or ``views`` is another number.
    """

    ahead = 0
    threads = 0
    captured: CapturedForward | None = None

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
        self._use(model, bundle.card, batch_size, precision, views)

    @classmethod
    def of_model(
        cls, model: EncoderModel, card: BundleCard, *, precision: str = "auto", batch_size: int | None = None
    ) -> Predictor:
        """A predictor of a model at hand, in eval mode with merged adapters; which is changed for inference."""
        made = cls.__new__(cls)
        made.device, made.fingerprint = next(model.parameters()).device, ""
        made._use(model, card, batch_size, precision, 1)
        return made

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
        # weak: a predictor that nobody uses gives its memory back at once
        computed, forward = WeakMethod(self._computed), WeakMethod(self._forward)
        self._halving = HalvingForward(lambda squares: cast(Compute, computed())(squares), self.device)
        if self.device.type == "cuda":
            self.ahead, self.threads = CUDA_AHEAD, min(CUDA_THREADS, os.cpu_count() or 1)
            self.captured = CapturedForward(lambda squares: cast(Compute, forward())(squares), self.batch_size)

    def _computed(self, squares: torch.Tensor) -> Outputs:
        return self._forward(squares) if self.captured is None else self.captured(squares)

    @torch.inference_mode()
    def _forward(self, squares: torch.Tensor) -> Outputs:
        """Probabilities, averaged over the views, and the appearance of the frames as they are."""
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
        """Predict chosen frames of a stack, one batch at a time; frames that look alike are encoded once.

        Args:
            frames: uint8 [T, H, W].
            indices: frame numbers to predict, int [N].

        Yields:
            One ChunkPrediction per batch, in the order of ``indices``.

        Raises:
            DeviceFull: when the device has no memory for a single frame.
        """
        last: list[Outputs] = []  # of the last frame of the batch before, once there is one
        started: deque[tuple[np.ndarray, Outputs, torch.cuda.Event | None]] = deque()
        for batch in self._batches(frames, indices):
            outputs = self._started(batch, last)
            last = [outputs.each(lambda part: part[-1:].clone())]
            started.append((batch.indices, outputs, mark(self.device)))
            if len(started) > self.ahead:
                yield self._chunk(*started.popleft())
        for one in started:
            yield self._chunk(*one)

    def _started(self, batch: _Batch, last: list[Outputs]) -> Outputs:
        """What is computed of a batch, as soon as the device comes to it."""
        known = list(last)
        if len(batch.squares):
            squares = take_over(batch.squares, batch.prepared)
            known.append(self._halving(squares))
        if batch.places is None:
            return known[-1]
        places = take_over(batch.places, batch.prepared)
        return joined(known).each(lambda part: part[places])

    def _chunk(self, indices: np.ndarray, outputs: Outputs, computed: torch.cuda.Event | None) -> ChunkPrediction:
        probabilities = outputs.probabilities
        if self.is_segmentation:
            return ChunkPrediction(
                indices, probabilities[:, 0], None, outputs.appearance, outputs.signals, computed
            )
        with reading(self.device, computed):
            return ChunkPrediction(indices, None, on_host(probabilities).numpy())

    def _batches(self, frames: np.ndarray, indices: np.ndarray) -> Iterator[_Batch]:
        """The frames on the model's grid, and which of them are to be encoded."""
        grid = SquareGrid(int(frames.shape[1]), int(frames.shape[2]), self.image_size)
        alike, lane = AlikeFrames(), Lane(self.device, "frames in")
        for start in range(0, len(indices), self.batch_size):
            chunk = indices[start : start + self.batch_size]
            with lane.queue():
                squares = grid.stack_to_square(send(frames, chunk, self.device))
                encoded, sources = alike.sources(squares)
                places = None
                if len(encoded) < len(chunk):
                    squares = squares[encoded]
                    places = torch.tensor(sources, device=self.device) - (1 if start == 0 else 0)
                batch = _Batch(chunk, squares, places, mark(self.device))
            yield batch
