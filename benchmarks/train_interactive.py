"""Trains the interactive model that ships; about 50 minutes on one core. A stopped run continues.

    python benchmarks/train_interactive.py FOLDER --run runs/interactive --minutes 40
    python benchmarks/train_interactive.py FOLDER --run runs/interactive --bundle out/interactive

FOLDER holds the public sets that ``fetaliqa/lab/stills/still_sources.py`` names. The encoder is the shipped
abdomen model's and stays as it is; the decoder learns from simulated clicks, boxes and previous masks. Held out
are the images that ``fetaliqa/lab/interactive/interactive_data.py`` names.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from fetaliqa.allocator import keep_freed_memory
from fetaliqa.lab.interactive.interactive_data import described, training_runs, training_shares, training_stills
from fetaliqa.lab.interactive.interactive_training import InteractiveRecipe, InteractiveTrainer
from fetaliqa.lab.interactive.prompt_samples import kept_runs
from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import Still
from fetaliqa.model import Bundle, TrainingData
from fetaliqa.model.architecture import BackboneConfig
from fetaliqa.model.interactive_bundle import InteractiveCard, save_interactive_bundle, untrained_model
from fetaliqa.model.interactive_model import InteractiveSeg, PromptConfig
from fetaliqa.model.user_folders import shipped_folder

# The second stage is for the last clicks of a session: the border is off by little, and each click counts.
STAGES = (
    InteractiveRecipe(steps=900),
    InteractiveRecipe(
        steps=600,
        learning_rate=1.2e-3,
        rounds=4,
        click_weight=30.0,
        p_wrong=0.45,
        p_near=0.6,
        average=0.99,
        seed=1,
    ),
)
LIMITS = (
    "Learnt from standard planes outlined by HC18's expert (heads) and by non-sonographers (abdomens), from "
    "synthetic phantom sweeps and from synthetic objects. It outlines what the clicks say, sensible or not. "
    "Figures: docs/interactive.md."
)


def checkpoints(run: Path) -> list[tuple[InteractiveRecipe, Path]]:
    """The stages, and the file of each one's state."""
    return [(recipe, run / f"stage-{number}.pt") for number, recipe in enumerate(STAGES, 1)]


def train(model: InteractiveSeg, stills: Sequence[Still], run: Path, seconds: float) -> None:
    """Train stage after stage, continuing a run, for some time."""
    end = time.monotonic() + seconds
    with tqdm(desc="phantom cases", unit="case") as bar:
        runs = kept_runs(run / "phantoms.npz", lambda: training_runs(lambda: bar.update() and None))
    shares = training_shares(stills, runs)
    weights = None
    with (run / "log.jsonl").open("a", encoding="utf-8") as log:

        def report(line: str) -> None:
            print(line, flush=True)
            log.write(line + "\n")
            log.flush()

        for recipe, file in checkpoints(run):
            trainer = InteractiveTrainer(model, shares, recipe, file, weights)
            if not trainer.run(end - time.monotonic(), report=report):
                return
            trainer.finish()
            weights = model.decoder.state_dict()


def main() -> None:
    """Train for some time, and save a bundle."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="folder of checkpoints; an existing run continues")
    parser.add_argument("--minutes", type=float, default=1e9, help="to train before a pause (default: to the end)")
    parser.add_argument("--bundle", type=Path, help="save what was learnt so far to this new folder")
    args = parser.parse_args()
    keep_freed_memory()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    args.run.mkdir(parents=True, exist_ok=True)
    stills = training_stills(read_catalogue(args.folder))
    start = Bundle.open(shipped_folder("abdomen"))
    vision = start.card.architecture.vision
    assert isinstance(vision, BackboneConfig)
    visual = start.load_model(merge=args.bundle is None).visual.eval().requires_grad_(False)
    model = untrained_model(vision, PromptConfig(), visual)
    if args.bundle is None:
        train(model, stills, args.run, args.minutes * 60)
        return
    trainers = [
        InteractiveTrainer(model, [], recipe, file) for recipe, file in checkpoints(args.run) if file.is_file()
    ]
    trainers[-1].finish()
    stages = "; then ".join(f"{one.step} steps of {asdict(one.recipe)}" for one in trainers)
    name, digest = described(stills)
    card = InteractiveCard(
        name="interactive",
        version="1.0",
        task="interactive",
        vision=model.vision,
        decoder=model.config,
        training_data=TrainingData(
            "real still images, phantom sweeps and synthetic objects",
            digest,
            f"{name} Encoder: that of the bundle abdomen {start.card.version}, unchanged. {stages}",
        ),
        licence="Apache-2.0; trained on CC BY 4.0 images, which are attributed under training_data",
        intended_use="Research and development. Not for any clinical use.",
        limitations=LIMITS,
    )
    save_interactive_bundle(model, card, args.bundle)


if __name__ == "__main__":
    main()
