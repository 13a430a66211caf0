"""A small encoder that knows phantoms, in FetalCLIP's place where its weights are not to be had.

FetalCLIP learnt fetal ultrasound before the paper adapted it. So that frozen encoders and adapters can be compared
without it, a small encoder first has the demo model's anatomy lesson (``training/anatomy.py``) on phantom cases
that no experiment uses again. Whatever is measured with it is about recipes on phantoms, not about FetalCLIP.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fetaliqa.datasets.phantom import PhantomSettings
from fetaliqa.models import BaseReference, BundleCard, TrainingData, build_segmentation, save_bundle
from fetaliqa.training.anatomy import teach_anatomy
from fetaliqa.training.fit import FitSettings
from fetaliqa.training.phantom_frames import Sampling, phantom_frames

ARCHITECTURE = "study"
FIRST_SEED = 50_000  # of the phantom cases; the demo model's and the experiments' are others
CASES = 240
SAMPLING = Sampling(annotated=5, hard=3, easy=1)
LESSON = FitSettings(
    steps=2500,
    batch_size=16,
    learning_rate=1e-3,
    muon_learning_rate=2e-3,
    warmup_steps=100,
    ema_decay=0.995,
    seed=1,
)

Report = Callable[[str, int, int], None]  # stage, done, in all


def train_stand_in(
    folder: Path,
    report: Report,
    *,
    cases: int = CASES,
    lesson: FitSettings = LESSON,
    processes: int = 2,
) -> Path:
    """Train the encoder and save it as a bundle with an untrained decoder.

    Args:
        folder: of the bundle; must not exist.
        report: called with stage, done, in all.
        cases: phantom cases it learns from.
        lesson: how long, and how fast.
        processes: to render phantoms with.
    """
    start = build_segmentation(ARCHITECTURE, random_init=True, encoder="full")
    vision = start.architecture.transformer
    frames = phantom_frames(
        range(FIRST_SEED, FIRST_SEED + cases),
        PhantomSettings(scale="half"),
        SAMPLING,
        size=vision.image_size,
        processes=processes,
        progress=lambda done, total: report("render frames for the stand-in encoder", done, total),
    )
    state = teach_anatomy(
        start.visual,
        vision,
        frames,
        lesson,
        lambda step: report("train the stand-in encoder", step.step, step.steps),
    )
    start.visual.load_state_dict(state)
    card = BundleCard(
        name="stand-in",
        version="1.0",
        task="segmentation",
        architecture=start.architecture,
        lora=None,
        base=BaseReference("included", ""),
        anatomy="abdomen",
        training_data=TrainingData(
            "FetalIQA phantom sweeps",
            frames.content_hash(),
            f"encoder only: anatomy of {cases} synthetic cases; the decoder is untrained",
        ),
        licence="Apache-2.0",
        intended_use="Experiments on recipes. Not for any clinical use.",
        limitations="An encoder trained on synthetic phantoms, with an untrained decoder.",
    )
    save_bundle(start, card, folder)
    return folder
