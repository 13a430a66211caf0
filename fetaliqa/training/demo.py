"""The committed recipe of the demo model: a small model of FetalCLIP_SEG's family, trained on phantoms.

Three steps, all seeded: (1) render training frames; (2) teach the encoder coarse outlines, one logit per
patch, which stands in for the foundation model's pre-training; (3) train LoRA adapters and decoder on the
frozen encoder, exactly as FetalCLIP_SEG is trained. The probability threshold is then chosen on validation
cases. Training, validation, test and sample cases have disjoint seeds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fetaliqa.datasets.phantom import PhantomSettings
from fetaliqa.memory import keep_freed_memory
from fetaliqa.models import (
    BaseReference,
    Bundle,
    BundleCard,
    FetalCLIPSeg,
    LoraSettings,
    Threshold,
    TrainingData,
    build_segmentation,
    normalise,
    save_bundle,
)
from fetaliqa.training.fit import FitSettings, StepReport, fit
from fetaliqa.training.frames import FrameSet
from fetaliqa.training.losses import coarse_outline_loss
from fetaliqa.training.phantom_frames import phantom_frames

TRAIN_SEED, VALIDATION_SEED, TEST_SEED, SAMPLE_SEED = 10_000, 20_000, 30_000, 40_000
PHANTOM = PhantomSettings(scale="half")
ENCODER = FitSettings(steps=1500, batch_size=16, learning_rate=1e-3, warmup_steps=100, seed=1)
ADAPTERS = FitSettings(steps=300, batch_size=16, learning_rate=3e-3, warmup_steps=20, seed=2)
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
LIMITATIONS = (
    "Trained on synthetic phantom sweeps only. Its figures say how well it reads phantoms, not ultrasound of "
    "patients; on real images its answers are mostly wrong. It shows that the software works."
)


@dataclass(frozen=True)
class DemoRecipe:
    """Everything that decides the demo model.

    Attributes:
        train_cases: phantom cases rendered for training.
        validation_cases: phantom cases for choosing the threshold.
        near: hard negatives per sweep.
        far: other negatives per sweep.
        encoder: step 2.
        adapters: step 3.
        version: of the bundle.
    """

    train_cases: int = 300
    validation_cases: int = 24
    near: int = 4
    far: int = 3
    encoder: FitSettings = ENCODER
    adapters: FitSettings = ADAPTERS
    lora_dropout: float = 0.0  # the adapters see each frame about once; dropping inputs would only slow them
    version: str = "1.0"


Report = Callable[[str, int, int, str], None]  # (stage, done, in all, remark)


class CoarseOutline(nn.Module):
    """An encoder with one logit per patch of its last block."""

    def __init__(self, visual: nn.Module, width: int, grid: int, depth: int) -> None:
        super().__init__()
        self.visual, self.grid, self.depth = visual, grid, depth
        self.head = nn.Linear(width, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images float [N, 3, 224, 224] -> logits [N, 1, grid, grid]."""
        output = self.visual.forward_intermediates(  # type: ignore[operator]
            images, indices=[self.depth - 1], stop_early=True, intermediates_only=True, output_fmt="NLC"
        )
        return self.head(output["image_intermediates"][0]).reshape(len(images), 1, self.grid, self.grid)


def train_demo(directory: Path, recipe: DemoRecipe, report: Report, processes: int = 2) -> Bundle:
    """Train the demo model and save its bundle as ``directory``, which must not exist."""
    keep_freed_memory()
    torch.manual_seed(recipe.encoder.seed)
    train = _render("render training frames", TRAIN_SEED, recipe.train_cases, recipe, report, processes)
    pretrained = _pretrained_encoder(train, recipe, report)
    model = build_segmentation(
        "demo", weights=pretrained, encoder="lora", lora=LoraSettings(dropout=recipe.lora_dropout)
    )
    fitted = fit(model, train, recipe.adapters, _steps("train adapters and decoder", report))
    assert isinstance(fitted, FetalCLIPSeg)
    validation = _render(
        "render validation frames", VALIDATION_SEED, recipe.validation_cases, recipe, report, processes
    )
    threshold, scores = choose_threshold(fitted.merged(), validation)
    card = replace(_card(recipe, train), threshold=Threshold(probability=threshold), metrics=scores)
    return save_bundle(fitted, card, directory)


def _render(stage: str, first: int, cases: int, recipe: DemoRecipe, report: Report, processes: int) -> FrameSet:
    return phantom_frames(
        range(first, first + cases),
        PHANTOM,
        near=recipe.near,
        far=recipe.far,
        processes=processes,
        progress=lambda done, total: report(stage, done, total, ""),
    )


def _steps(stage: str, report: Report) -> Callable[[StepReport], None]:
    return lambda step: report(stage, step.step, step.steps, f"loss {step.loss:.3f}")


def _pretrained_encoder(train: FrameSet, recipe: DemoRecipe, report: Report) -> dict[str, torch.Tensor]:
    start = build_segmentation("demo", random_init=True, encoder="full")
    vision = start.architecture.vision
    coarse = CoarseOutline(start.visual, vision.width, vision.grid, vision.layers)
    fitted = fit(coarse, train, recipe.encoder, _steps("train encoder", report), coarse_outline_loss)
    return {name: tensor.detach().clone() for name, tensor in fitted.visual.state_dict().items()}  # type: ignore


@torch.inference_mode()
def choose_threshold(model: nn.Module, frames: FrameSet) -> tuple[float, dict[str, float]]:
    """The probability threshold with the best frame F1 on validation frames (near 0.5 where equal).

    Returns:
        The threshold, and F1 at each threshold by name. Negatives are sampled, so this F1 is for choosing
        only; the figures to report come from whole cases (``fetaliqa demo evaluate``).
    """
    minimum = Threshold().min_foreground_pixels()
    counts = []
    for start in range(0, len(frames), 64):
        images, _ = frames.batch(np.arange(start, min(start + 64, len(frames))))
        probabilities = torch.sigmoid(model(normalise(images))[:, 0])
        counts.append(torch.stack([(probabilities > t).sum(dim=(1, 2)) for t in THRESHOLDS], dim=1))
    predicted = torch.cat(counts).numpy() >= minimum
    truth = (frames.grades > 0)[:, None]
    hits, misses = (predicted & truth).sum(axis=0), (predicted != truth).sum(axis=0)
    f1 = 2 * hits / np.maximum(2 * hits + misses, 1)
    best = max(range(len(THRESHOLDS)), key=lambda i: (round(float(f1[i]), 3), -abs(THRESHOLDS[i] - 0.5)))
    return THRESHOLDS[best], {f"validation_f1_at_{t}": round(float(v), 4) for t, v in zip(THRESHOLDS, f1)}


def _card(recipe: DemoRecipe, train: FrameSet) -> BundleCard:
    digest = hashlib.sha256()
    for array in (train.images, train.outline_bits):
        digest.update(np.ascontiguousarray(array).data)
    return BundleCard(
        name="demo",
        version=recipe.version,
        task="segmentation",
        architecture=build_segmentation("demo", random_init=True, encoder="full").architecture,
        lora=None,
        base=BaseReference("included", ""),
        anatomy="abdomen",
        training_data=TrainingData(
            name="FetalIQA phantom sweeps",
            hash=digest.hexdigest(),
            description=f"{len(train)} frames of {recipe.train_cases} synthetic cases; recipe {asdict(recipe)}",
        ),
        licence="Apache-2.0",
        intended_use="Demonstration and software tests of FetalIQA. Not for any clinical use.",
        limitations=LIMITATIONS,
    )
