"""The baseline for speed: FetalCLIP_SEG at full size with random weights, in a straightforward pipeline.

Each frame is resized separately with Pillow and encoded in float32 in batches of 32, with forward hooks on the
blocks that the decoder reads; each mask is resampled to the frame's own grid separately. A random decoder's
outputs are shifted so that some pixels are foreground.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from timing import Clock

SIZE = 224
FOREGROUND = 0.06  # of the pixels of a frame, made so by a shift of the logits


def case_frames(count: int) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """Lit frames of phantoms of half size, every pixel doubled, cut into sweeps of 140."""
    from fetaliqa.lab.phantom.phantom_excerpt import subsampled_phantom

    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < count:
        parts.append(subsampled_phantom(71_000 + len(parts), 1).case.frames)
    frames = np.concatenate(parts)[:count].repeat(2, axis=1).repeat(2, axis=2)
    return np.ascontiguousarray(frames), tuple((start, min(start + 140, count)) for start in range(0, count, 140))


def full_size_model() -> Any:
    """FetalCLIP_SEG with random weights, for inference."""
    from fetaliqa.model import build_segmentation
    from fetaliqa.model.decoder import fuse_batch_norms

    torch.manual_seed(0)
    model = build_segmentation("fetalclip", random_init=True).merged()
    fuse_batch_norms(model.decoder)
    return model


def card_of(model: Any) -> Any:
    """A card for a model of no data."""
    from fetaliqa.model import BaseReference, BundleCard, TrainingData

    return BundleCard(
        name="benchmark",
        version="1",
        task="segmentation",
        architecture=model.architecture,
        lora=None,
        base=BaseReference("included", "0" * 64),
        anatomy="abdomen",
        training_data=TrainingData("none", "none", "random weights"),
        licence="Apache-2.0",
        intended_use="benchmarks",
        limitations="random weights",
    )


def shift_logits(model: Any, frames: np.ndarray) -> None:
    """Make about ``FOREGROUND`` of the pixels foreground."""
    from fetaliqa.measure.square_grid import SquareGrid
    from fetaliqa.model import normalise

    grid = SquareGrid(frames.shape[1], frames.shape[2], SIZE)
    with torch.inference_mode():
        logits = model(normalise(grid.to_square(frames[:4])))
    with torch.no_grad():
        model.decoder.head[-1].bias -= torch.quantile(logits.flatten()[::7].float(), 1 - FOREGROUND)


class Straightforward:
    """A straightforward pipeline without optimisations."""

    def __init__(self, model: Any) -> None:
        self.model, self.outputs = model, {}
        self.taps = [tap - 1 for tap in model.architecture.decoder.taps]
        for tap in self.taps:
            model.visual.transformer.resblocks[tap].register_forward_hook(
                lambda _module, _inputs, output, tap=tap: self.outputs.__setitem__(tap, output)
            )

    @torch.no_grad()
    def __call__(self, frames: np.ndarray, clock: Clock) -> list[np.ndarray]:
        from fetaliqa.measure import fit_outline, main_component
        from fetaliqa.measure.field_of_view import field_of_view
        from fetaliqa.model.preprocess import CLIP_MEAN, CLIP_STD

        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        masks = []
        for start in range(0, len(frames), 32):
            chunk = frames[start : start + 32]
            with clock("preprocess"):
                pictures = []
                for frame in chunk:
                    side = max(frame.shape)
                    square = Image.new("L", (side, side))
                    square.paste(
                        Image.fromarray(frame), ((side - frame.shape[1]) // 2, (side - frame.shape[0]) // 2)
                    )
                    picture = square.resize((SIZE, SIZE), Image.Resampling.BICUBIC).convert("RGB")
                    values = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255
                    pictures.append((values - mean) / std)
                images = torch.stack(pictures)
            with clock("encode"):
                self.model.visual(images)
                grid = self.model.architecture.vision.grid
                maps = [
                    self.outputs[tap][:, 1:].permute(0, 2, 1).reshape(len(chunk), -1, grid, grid)
                    for tap in self.taps
                ]
            with clock("decode"):
                probabilities = torch.sigmoid(self.model.decoder(images, maps))
            with clock("postprocess"):
                for frame, probability in zip(chunk, probabilities):
                    side = max(frame.shape)
                    square = torch.nn.functional.interpolate(probability[None], size=(side, side), mode="bilinear")
                    top, left = (side - frame.shape[0]) // 2, (side - frame.shape[1]) // 2
                    native = square[0, 0, top : top + frame.shape[0], left : left + frame.shape[1]].numpy() > 0.5
                    outline = main_component(native.astype(np.uint8))
                    if outline is not None:
                        fit_outline(outline, (0.28, 0.28), field_of_view(frame[None]))
                    masks.append(native)
        return masks
