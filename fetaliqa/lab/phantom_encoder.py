"""Auxiliary pre-training of a small stand-in encoder on phantoms, where FetalCLIP's weights are not available.

FetalCLIP was pre-trained on fetal ultrasound. To compare frozen encoders and adapters without it, a small model is
trained to outline phantom cases that no experiment uses again; its encoder is the stand-in. Results with it are
about recipes on phantoms, not about FetalCLIP.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fetaliqa.lab.phantom.phantom_frames import Sampling, phantom_frames
from fetaliqa.lab.phantom.phantom_seeds import PHANTOM, STAND_IN
from fetaliqa.model import BaseReference, BundleCard, TrainingData, save_bundle
from fetaliqa.training.batch_sampling import make_order
from fetaliqa.training.memory_watch import Report
from fetaliqa.training.plain_loop import Cycle, train_outlines
from fetaliqa.training.recipes import FETALIQA
from fetaliqa.training.starting_weights import SCRATCH, open_base

ARCHITECTURE = "study"
CASES, STEPS, SEED = 240, 1500, 1
SAMPLING = Sampling(annotated=5, hard=3, easy=1)
LEARNING_RATE = 1e-3
MIX = replace(FETALIQA, name="stand-in", encoder="full")  # how batches are mixed, and the start


def train_stand_in(
    folder: Path, report: Report, *, cases: int = CASES, steps: int = STEPS, processes: int = 2
) -> Path:
    """Train the model and save it as a bundle.

    Args:
        folder: of the bundle; must not exist.
        report: called with stage, done, in all.
        cases: number of phantom cases.
        steps: training steps.
        processes: to render phantoms with.
    """
    model = open_base(SCRATCH + ARCHITECTURE).build(MIX, SEED)
    frames = phantom_frames(
        range(STAND_IN, STAND_IN + cases),
        PHANTOM,
        SAMPLING,
        size=model.architecture.vision.image_size,
        processes=processes,
        progress=lambda done, total: report("render frames for the stand-in encoder", done, total),
    )
    train_outlines(
        model,
        frames,
        make_order(frames, MIX, SEED),
        Cycle(steps, LEARNING_RATE, average=0.99, seed=SEED),
        lambda step: report("train the stand-in encoder", step.number, step.steps),
    )
    card = BundleCard(
        name="stand-in",
        version="1.0",
        task="segmentation",
        architecture=model.architecture,
        lora=None,
        base=BaseReference("included", ""),
        anatomy="abdomen",
        training_data=TrainingData(
            "FetalIQA phantom sweeps",
            frames.content_hash(),
            f"{len(frames)} frames of {cases} synthetic cases; {steps} steps of {MIX.batch_size}",
        ),
        licence="Apache-2.0",
        intended_use="Experiments on recipes. Not for any clinical use.",
        limitations="Trained on synthetic phantoms, for its encoder alone.",
    )
    save_bundle(model, card, folder)
    return folder
