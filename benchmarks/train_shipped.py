"""Train the models that ship, from public still images and phantom frames; on a CPU about an hour each.

    python benchmarks/train_shipped.py head FOLDER --out runs/head
    python benchmarks/train_shipped.py abdomen FOLDER --start runs/head --out runs/abdomen
    python benchmarks/train_shipped.py abdomen FOLDER --start runs/head --without Malawi Egypt --out runs/left-out

FOLDER holds the public sets that ``fetaliqa/datasets/stills/sources.py`` names. The head model starts from the
ImageNet weights of its encoder, the abdomen model from the head model. Which images were held back:
``fetaliqa/datasets/stills/parts.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from fetaliqa.models.reference import fit_reference
from tqdm import tqdm

from fetaliqa.datasets.phantom import PhantomSettings
from fetaliqa.datasets.stills.augment import Settings, augmented
from fetaliqa.datasets.stills.catalogue import read_catalogue
from fetaliqa.datasets.stills.parts import learnt_from
from fetaliqa.datasets.stills.samples import StillSet
from fetaliqa.datasets.stills.split import leave_out
from fetaliqa.datasets.stills.still import Still
from fetaliqa.models import (
    BaseReference,
    BundleCard,
    CompactSeg,
    Threshold,
    TrainingData,
    build_segmentation,
    load_architecture,
    save_bundle,
)
from fetaliqa.models.backbone import imagenet_state
from fetaliqa.models.bundle import Bundle
from fetaliqa.training.compact import CompactRecipe, Share, Step, train_compact
from fetaliqa.training.frames import FrameSet
from fetaliqa.training.phantom_frames import Sampling, phantom_frames

PHANTOM = PhantomSettings(scale="half")
PHANTOM_SEEDS = range(10_000, 10_120)
PHANTOM_FRAMES = Sampling(annotated=6, hard=6, easy=3)
PHANTOM_SIDE = 320  # pixels; more than the grid, so that other views of a frame find detail
HEADS_AS_NEGATIVES = 250
REFERENCE_PASSES = 3  # augmented samples of each image that the distance to the training data is fitted to

# one ordinary augmentation of standard planes
HEAD_SETTINGS = Settings(
    shift=0.08, p_flip=0.3, gamma=0.72, gain=(0.7, 1.35), p_bands=0.0, p_shadow=0.0, p_marks=0.0, p_view=0.0
)
# abdomens are looked for in sweeps too: small, in other sectors, with other things in the picture
ABDOMEN_SETTINGS = Settings(p_view=0.45)
PHANTOM_AUGMENTATION = Settings(p_view=0.5, p_flip=0.0, rotation_deg=20.0, p_marks=0.15)

ATTRIBUTION = (
    "HC18 (van den Heuvel et al. 2018, Zenodo 1327317); African planes (Sendra-Balcells et al. 2023, Zenodo "
    "7540448); FETAL_PLANES_DB (Burgos-Artizzu et al. 2020, Zenodo 3904280): all CC BY 4.0. Encoder: "
    "EfficientNet-Lite0, ImageNet weights (Apache-2.0)"
)
INTENDED = "Research and development. Not for any clinical use."
LIMITS = {
    "abdomen": "Learnt from few standard planes outlined by non-sonographers, and from synthetic phantom sweeps; "
    "no labelled blind sweep of a patient was available. Figures: docs/real-images.md.",
    "head": "Learnt from standard planes of one centre (HC18). Figures: docs/real-images.md.",
}


class Phantoms:
    """Phantom frames to draw from."""

    def __init__(self, frames: FrameSet, chosen: np.ndarray) -> None:
        self._frames, self._chosen = frames, np.flatnonzero(chosen)

    def __len__(self) -> int:
        return len(self._chosen)

    def sample(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random sample of a frame."""
        frame = self._chosen[index]
        mask = self._frames.outlines(np.array([frame]))[0]
        return augmented(self._frames.images[frame], mask if mask.any() else None, rng, PHANTOM_AUGMENTATION)


@dataclass(frozen=True)
class Data:
    """What a model learns from."""

    shares: list[Share]
    stills: list[Still]
    described: str


def head_data(stills: Sequence[Still]) -> Data:
    """HC18's heads; abdomens, femurs and thoraces as negatives."""
    heads = [one for one in stills if one.plane == "head"]
    others = [one for one in stills if one.plane != "head"]
    shares = [
        Share(StillSet(heads, "head", HEAD_SETTINGS), 13),
        Share(StillSet(others, "head", HEAD_SETTINGS), 3),
    ]
    return Data(shares, [*heads, *others], _counts([*heads, *others]))


def abdomen_data(stills: Sequence[Still]) -> Data:
    """Outlined abdomens; other planes and heads as negatives; phantom frames, most of them hard negatives."""
    outlined = [one for one in stills if one.plane == "abdomen"]
    planes = [one for one in stills if one.plane not in ("abdomen", "head")]
    heads = sorted((one for one in stills if one.plane == "head"), key=lambda one: one.sha256)
    heads = heads[:HEADS_AS_NEGATIVES]
    bar = tqdm(desc="phantom frames", unit="case", total=len(PHANTOM_SEEDS))
    frames = phantom_frames(
        PHANTOM_SEEDS,
        PHANTOM,
        PHANTOM_FRAMES,
        size=PHANTOM_SIDE,
        progress=lambda done, _: bar.update(done - bar.n),
    )
    bar.close()
    positive = frames.grades > 0
    shares = [
        Share(StillSet(outlined, "abdomen", ABDOMEN_SETTINGS), 5),
        Share(StillSet(planes, "abdomen", ABDOMEN_SETTINGS), 3),
        Share(StillSet(heads, "abdomen", ABDOMEN_SETTINGS), 1),
        Share(Phantoms(frames, positive), 3),
        Share(Phantoms(frames, ~positive & frames.hard), 3),
        Share(Phantoms(frames, ~positive & ~frames.hard), 1),
    ]
    used = [*outlined, *planes, *heads]
    return Data(shares, used, f"{_counts(used)}; {len(frames)} frames of {len(PHANTOM_SEEDS)} phantom cases")


def _counts(stills: Sequence[Still]) -> str:
    counted = Counter((one.source, one.plane) for one in stills)
    return ", ".join(f"{count} {source} {plane}" for (source, plane), count in sorted(counted.items()))


def starting_model(start: Path | None) -> CompactSeg:
    """The compact model from ImageNet's weights, or that of a bundle."""
    if start is not None:
        model = Bundle.open(start).load_model(merge=False)
    else:
        architecture = load_architecture("compact")
        torch.manual_seed(0)
        model = build_segmentation(
            architecture,
            weights=imagenet_state(architecture.vision),
            encoder="full",  # type: ignore[arg-type]
        )
    assert isinstance(model, CompactSeg)
    return model.requires_grad_(True)


def make_card(anatomy: str, name: str, data: Data, recipe: CompactRecipe, threshold: Threshold) -> BundleCard:
    """The card, without figures."""
    digest = hashlib.sha256("".join(sorted(one.sha256 for one in data.stills)).encode()).hexdigest()
    return BundleCard(
        name=name,
        version="1.0",
        task="segmentation",
        architecture=load_architecture("compact"),
        lora=None,
        base=BaseReference("included", "0" * 64),
        anatomy=anatomy,
        training_data=TrainingData(
            "real still images", digest, f"{data.described}. {ATTRIBUTION}. {asdict(recipe)}"
        ),
        licence="Apache-2.0; trained on CC BY 4.0 images, which are attributed under training_data",
        intended_use=INTENDED,
        limitations=LIMITS[anatomy],
        threshold=threshold,
    )


def reference_samples(data: Data, passes: int) -> Any:
    """Batches of augmented real images and phantom frames, for the distance to the training data."""
    random = np.random.default_rng(1)
    for share in data.shares:
        count = min(len(share.samples) * passes, 600)
        for start in range(0, count, 16):
            indices = random.integers(len(share.samples), size=min(16, count - start))
            yield np.stack([share.samples.sample(int(index), random)[0] for index in indices])


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("anatomy", choices=["abdomen", "head"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", type=Path, help="bundle to start from (default: ImageNet weights)")
    parser.add_argument("--without", nargs="+", default=[], metavar="COUNTRY", help="leave these countries out")
    parser.add_argument("--steps", type=int, help="default: 950 for heads, 800 for abdomens")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle; must not exist")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    stills = learnt_from(read_catalogue(args.folder), args.anatomy)
    if args.without:
        stills, _ = leave_out(stills, args.without)
    data = head_data(stills) if args.anatomy == "head" else abdomen_data(stills)
    if args.anatomy == "head":
        recipe = CompactRecipe(args.steps or 950)
    else:
        recipe = CompactRecipe(args.steps or 800, learning_rate=1e-3, average=0.995, plane_weight=0.5)
    print(json.dumps({"data": data.described, "recipe": asdict(recipe)}))
    model = starting_model(args.start)
    bar = tqdm(desc="train", unit="step", total=recipe.steps)

    def report(step: Step) -> None:
        bar.update()
        bar.set_postfix(loss=f"{step.loss:.3f}", dice=f"{step.dice:.3f}")

    train_compact(model, data.shares, recipe, report)
    bar.close()
    fit_reference(model, reference_samples(data, REFERENCE_PASSES))
    save_bundle(model, make_card(args.anatomy, args.out.name, data, recipe, Threshold()), args.out)


if __name__ == "__main__":
    main()
