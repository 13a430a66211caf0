"""A loaded model on a device: frames in, probabilities out, in batches of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from fetaliqa.errors import OptionError
from fetaliqa.geometry import SquareGrid
from fetaliqa.inference.alike import AlikeFrames
from fetaliqa.inference.precision import set_precision
from fetaliqa.models import Bundle, BundleCard, EncoderModel, FetalCLIPSeg, normalise
from fetaliqa.models.decoder import UnetrDecoder
from fetaliqa.models.fast_decoder import FastDecoder

CPU_BATCH = 16  # frames; more make the encoder's matrix products no faster
CUDA_BATCH = 64
VIEWS: dict[int, tuple[tuple[int, ...], ...]] = {1: ((),), 2: ((), (-1,)), 4: ((), (-1,), (-2,), (-1, -2))}


def choose_device(name: str = "auto") -> torch.device:
    """The torch device called ``name`` (``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...).

    Raises:
        OptionError: when the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise OptionError(f"device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise OptionError(
                f"device {name!r} asked for, but this machine has {count} CUDA devices; use cpu or auto"
            )
    return device


Outputs = tuple[torch.Tensor, torch.Tensor | None]  # of N frames: probabilities, appearance (of a decoder's model)


@dataclass(frozen=True)
class ChunkPrediction:
    """Model output for some frames of a stack.

    Attributes:
        indices: frame numbers in the stack, int [N].
        probabilities: float32 [N, S, S] on the model's square grid (segmentation), else None.
        scores: float32 [N] frame probability (classification), else None.
        appearance: float [N, C], mean over the encoder's deepest map (segmentation), else None.
    """

    indices: np.ndarray
    probabilities: torch.Tensor | None
    scores: np.ndarray | None
    appearance: torch.Tensor | None = None


class Predictor:
    """A bundle loaded once and ready to predict.

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
        self.is_segmentation = card.task == "segmentation"
        self.image_size = card.architecture.vision.image_size

    @torch.inference_mode()
    def _forward(self, squares: torch.Tensor) -> Outputs:
        """Probabilities, averaged over the views, and the appearance of the frames as they are."""
        images = normalise(squares)
        mixed = self.device.type == "cuda" and self.precision == "bf16"
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=mixed):
            total, appearance = self._answers(images)
            for axes in self.views[1:]:
                flipped = torch.sigmoid(self.model(images.flip(axes)).float())
                total = total + (flipped.flip(axes) if flipped.ndim == 4 else flipped)
        return total / len(self.views), appearance

    def _answers(self, images: torch.Tensor) -> Outputs:
        if not isinstance(self.model, FetalCLIPSeg):
            return torch.sigmoid(self.model(images).float()), None
        logits, maps = self.model.outline_and_maps(images)
        return torch.sigmoid(logits.float()), maps[-1].float().mean(dim=(2, 3))

    def predict(self, frames: np.ndarray, indices: np.ndarray) -> Iterator[ChunkPrediction]:
        """Predict chosen frames of a stack, one batch at a time; frames that look alike are encoded once.

        Args:
            frames: uint8 [T, H, W].
            indices: frame numbers to predict, int [N].

        Yields:
            One ChunkPrediction per batch, in the order of ``indices``.
        """
        grid = SquareGrid(int(frames.shape[1]), int(frames.shape[2]), self.image_size)
        alike = AlikeFrames()
        last: list[Outputs] = []  # of the frame encoded last, once there is one
        for start in range(0, len(indices), self.batch_size):
            chunk = indices[start : start + self.batch_size]
            squares = grid.to_square(frames[chunk], self.device)
            encoded, sources = alike.sources(squares)
            known = [*last, self._forward(squares[encoded])] if encoded else last
            places = torch.tensor(sources, device=self.device) - (0 if last else 1)
            output, appearance = _picked(known, places)
            last = [_picked(known, torch.tensor([-1], device=self.device))]
            if self.is_segmentation:
                yield ChunkPrediction(chunk, output[:, 0], None, appearance)
            else:
                yield ChunkPrediction(chunk, None, output.cpu().numpy())


def _picked(known: list[Outputs], places: torch.Tensor) -> Outputs:
    """The outputs at some places of several in a row."""
    probabilities, appearances = zip(*known)
    appearance = None if appearances[0] is None else torch.cat(appearances)[places]
    return torch.cat(probabilities)[places], appearance
