"""The committed recipe of the demo model: a small model of FetalCLIP_SEG's family, trained on phantoms.

All steps are seeded: (1) render training frames; (2) teach the encoder anatomy (``anatomy.py``), which stands
in for the foundation model's pre-training; (3) train LoRA adapters and decoder on the frozen encoder, as
FetalCLIP_SEG is trained, on windows around the fetus; (4) train them on whole frames, weighted as in sweeps.
The probability threshold is then chosen on validation cases. Training, validation, test and sample cases have
disjoint seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

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
    save_bundle,
)
from fetaliqa.training.anatomy import teach_anatomy
from fetaliqa.training.fit import FitSettings, StepReport, fit, sweep_objective
from fetaliqa.training.frames import FrameSet
from fetaliqa.training.phantom_frames import Sampling, phantom_frames
from fetaliqa.training.threshold import choose_threshold
from fetaliqa.training.windows import windowed_objective

TRAIN_SEED, VALIDATION_SEED, TEST_SEED, SAMPLE_SEED = 10_000, 20_000, 30_000, 40_000
PHANTOM = PhantomSettings(scale="half")
ENCODER = FitSettings(
    steps=3400,
    batch_size=16,
    learning_rate=1e-3,
    muon_learning_rate=2e-3,
    warmup_steps=100,
    ema_decay=0.995,
    # no moves: phantoms turn, shift and grow by themselves, and the sector stays where it is
    seed=1,
)
ADAPTERS = FitSettings(
    steps=220,
    batch_size=16,
    learning_rate=1e-2,
    muon_learning_rate=3e-3,
    warmup_steps=20,
    ema_decay=0.97,
    seed=2,
)
WHOLE = FitSettings(
    steps=80,
    batch_size=16,
    learning_rate=3e-3,
    muon_learning_rate=1e-3,
    warmup_steps=5,
    ema_decay=0.95,
    seed=3,
    positive_share=0.25,
    hard_share=0.5625,
)
SAMPLING = Sampling(annotated=5, hard=3, easy=1)
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
        sampling: which frames of each sweep are rendered.
        encoder: step 2.
        adapters: step 3.
        whole: step 4.
        version: of the bundle.
    """

    train_cases: int = 800
    validation_cases: int = 24
    sampling: Sampling = SAMPLING
    encoder: FitSettings = ENCODER
    adapters: FitSettings = ADAPTERS
    whole: FitSettings = WHOLE
    lora_dropout: float = 0.0  # the adapters see each frame about once; dropping inputs would only slow them
    version: str = "1.0"


Report = Callable[[str, int, int, str], None]  # (stage, done, in all, remark)


def train_demo(directory: Path, recipe: DemoRecipe, report: Report, processes: int = 2) -> Bundle:
    """Train the demo model and save its bundle as ``directory``, which must not exist."""
    keep_freed_memory()
    torch.manual_seed(recipe.encoder.seed)
    train = _render("render training frames", TRAIN_SEED, recipe.train_cases, recipe, report, processes)
    pretrained = _pretrained_encoder(train, recipe, report)
    model = build_segmentation(
        "demo", weights=pretrained, encoder="lora", lora=LoraSettings(dropout=recipe.lora_dropout)
    )
    in_windows = windowed_objective(recipe.adapters.seed)
    fitted = fit(model, train, recipe.adapters, in_windows, _steps("train adapters and decoder", report))
    fitted = fit(fitted, train, recipe.whole, sweep_objective, _steps("train on whole frames", report))
    assert isinstance(fitted, FetalCLIPSeg)
    validation = _render(
        "render validation frames", VALIDATION_SEED, recipe.validation_cases, recipe, report, processes
    )
    threshold, scores = choose_threshold(fitted.merged(), validation)
    card = replace(_card(recipe, train), threshold=Threshold(frame_probability=threshold), metrics=scores)
    return save_bundle(fitted, card, directory)


def _render(stage: str, first: int, cases: int, recipe: DemoRecipe, report: Report, processes: int) -> FrameSet:
    return phantom_frames(
        range(first, first + cases),
        PHANTOM,
        recipe.sampling,
        processes=processes,
        progress=lambda done, total: report(stage, done, total, ""),
    )


def _steps(stage: str, report: Report) -> Callable[[StepReport], None]:
    return lambda step: report(stage, step.step, step.steps, f"loss {step.loss:.3f}")


def _pretrained_encoder(train: FrameSet, recipe: DemoRecipe, report: Report) -> dict[str, torch.Tensor]:
    start = build_segmentation("demo", random_init=True, encoder="full")
    steps = _steps("train encoder", report)
    return teach_anatomy(start.visual, start.architecture.transformer, train, recipe.encoder, steps)


def _card(recipe: DemoRecipe, train: FrameSet) -> BundleCard:
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
            hash=train.content_hash(),
            description=f"{len(train)} frames of {recipe.train_cases} synthetic cases; recipe {asdict(recipe)}",
        ),
        licence="Apache-2.0",
        intended_use="Demonstration and software tests of FetalIQA. Not for any clinical use.",
        limitations=LIMITATIONS,
    )
