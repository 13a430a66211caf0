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
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from fetaliqa.datasets.phantom import PhantomSettings
from fetaliqa.datasets.phantom.seeds import TRAIN
from fetaliqa.datasets.stills.augment import NONE, Settings, augmented
from fetaliqa.datasets.stills.catalogue import read_catalogue
from fetaliqa.datasets.stills.parts import learnt_from
from fetaliqa.datasets.stills.samples import StillSet
from fetaliqa.datasets.stills.split import leave_out
from fetaliqa.datasets.stills.still import Still, read_grey
from fetaliqa.distillation.start import IMAGENET, starting_model
from fetaliqa.models import (
    Architecture,
    BaseReference,
    BundleCard,
    CompactSeg,
    TrainingData,
    save_bundle,
)
from fetaliqa.models.reference import fit_reference
from fetaliqa.training.compact import CompactRecipe, Drawn, Share, Step, train_compact
from fetaliqa.training.frame_head_fit import fit_expected_dice, fit_frame_head
from fetaliqa.training.frames import FrameSet
from fetaliqa.training.phantom_frames import Sampling, phantom_frames

PHANTOM = PhantomSettings(scale="half")
PHANTOM_SEEDS = range(TRAIN, TRAIN + 120)
PHANTOM_FRAMES = Sampling(annotated=6, hard=6, easy=3)
PHANTOM_SIDE = 320  # pixels; more than the grid, so that other views of a frame find detail
HEADS_AS_NEGATIVES = 250
REFERENCE_PHANTOMS = 150  # frames beside the stills, that the distance to the training data is fitted to
EXPECTED_DICE_BATCHES = 40  # of 16 samples, that the expected Dice is fitted to

# heads are measured in millimetres: their outline is read at half the image side, not a quarter
ARCHITECTURES = {"abdomen": "compact", "head": "compact-fine"}

# one ordinary augmentation of standard planes
HEAD_SETTINGS = Settings(
    shift=0.08, p_flip=0.3, gamma=0.72, gain=(0.7, 1.35), p_bands=0.0, p_shadow=0.0, p_marks=0.0, p_view=0.0
)


@dataclass(frozen=True)
class Stage:
    """A part of the training of the abdomen model.

    Attributes:
        recipe: how.
        shares: of each batch: abdomens, other planes, heads, phantoms with an outline, sections of a phantom's
            trunk beside the plane, other phantom frames.
        stills, phantoms: augmentation. Abdomens are looked for in sweeps too: small, in other sectors, dark. A
            phantom's sector must say nothing about the answer, so most of them are seen in another one.
    """

    recipe: CompactRecipe
    shares: tuple[int, int, int, int, int, int]
    stills: Settings
    phantoms: Settings


def _phantoms(p_view: float) -> Settings:
    return Settings(p_view=p_view, p_flip=0.0, rotation_deg=20.0, p_marks=0.15)


# The first stage missed abdomens, since many frames without one held the outline down; the next ones weigh these
# less in the outline's loss and leave it to the frame head to tell them apart.
ABDOMEN_STAGES = (
    Stage(
        CompactRecipe(800, learning_rate=1e-3, average=0.995, plane_weight=0.5),
        (5, 3, 1, 3, 3, 1),
        Settings(p_view=0.45),
        _phantoms(0.5),
    ),
    Stage(
        CompactRecipe(380, learning_rate=8e-4, average=0.99, plane_weight=0.7, empty_weight=0.1, seed=1),
        (6, 3, 1, 2, 3, 1),
        Settings(p_view=0.6),
        _phantoms(0.85),
    ),
    Stage(
        CompactRecipe(360, learning_rate=7e-4, average=0.99, plane_weight=0.7, empty_weight=0.1, seed=2),
        (7, 3, 1, 2, 2, 1),
        Settings(p_view=0.6, p_low_resolution=0.35, gain=(0.45, 1.5)),
        _phantoms(0.95),
    ),
    Stage(
        CompactRecipe(340, learning_rate=7e-4, average=0.99, plane_weight=0.7, empty_weight=0.1, seed=3),
        (7, 3, 1, 2, 2, 1),
        Settings(p_view=0.6, p_low_resolution=0.35, gain=(0.45, 1.5)),
        _phantoms(0.95),
    ),
)
# At last the frame head alone, on samples of these kinds: sections of a phantom beside the plane weigh more, as
# there are many in a sweep, and so do real abdomens, which must not be lost for it. Three of the twelve "other"
# planes do show an abdomen: left out here.
FRAME_HEAD_SAMPLES = (800, 500, 250, 500, 1500, 500)
FRAME_HEAD_WEIGHTS = (30.0, 1.0, 1.0, 2.0, 4.0, 4.0)
# without dropout: with it the network did not fit its 658 training heads
HEAD_RECIPE = CompactRecipe(1500, average=0.995, plane_weight=0.2, dropout=0.0)

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

    def __init__(self, frames: FrameSet, chosen: np.ndarray, settings: Settings) -> None:
        self._frames, self._chosen, self._settings = frames, np.flatnonzero(chosen), settings

    def __len__(self) -> int:
        return len(self._chosen)

    def sample(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random sample of a frame."""
        frame = self._chosen[index]
        mask = self._frames.outlines(np.array([frame]))[0]
        return augmented(self._frames.images[frame], mask if mask.any() else None, rng, self._settings)


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


def rendered() -> FrameSet:
    """The phantom frames that train, with a progress bar."""
    bar = tqdm(desc="phantom frames", unit="case", total=len(PHANTOM_SEEDS))
    frames = phantom_frames(
        PHANTOM_SEEDS,
        PHANTOM,
        PHANTOM_FRAMES,
        size=PHANTOM_SIDE,
        progress=lambda done, _: bar.update(done - bar.n),
    )
    bar.close()
    return frames


def abdomen_data(stills: Sequence[Still], frames: FrameSet, stage: Stage) -> Data:
    """Outlined abdomens; other planes and heads as negatives; phantom frames, most of them hard negatives."""
    outlined = [one for one in stills if one.plane == "abdomen"]
    planes = [one for one in stills if one.plane not in ("abdomen", "head")]
    heads = sorted((one for one in stills if one.plane == "head"), key=lambda one: one.sha256)
    heads = heads[:HEADS_AS_NEGATIVES]
    positive = frames.grades > 0
    samples: tuple[Drawn, ...] = (
        *(StillSet(some, "abdomen", stage.stills) for some in (outlined, planes, heads)),
        *(
            Phantoms(frames, chosen, stage.phantoms)
            for chosen in (positive, ~positive & frames.hard, ~positive & ~frames.hard)
        ),
    )
    used = [*outlined, *planes, *heads]
    described = f"{_counts(used)}; {len(frames)} frames of {len(PHANTOM_SEEDS)} phantom cases"
    return Data([Share(one, count) for one, count in zip(samples, stage.shares)], used, described)


def _counts(stills: Sequence[Still]) -> str:
    counted = Counter((one.source, one.plane) for one in stills)
    return ", ".join(f"{count} {source} {plane}" for (source, plane), count in sorted(counted.items()))


def make_card(
    anatomy: str, name: str, architecture: Architecture, data: Data, recipes: Sequence[CompactRecipe]
) -> BundleCard:
    """The card, without figures."""
    told = "; then ".join(
        f"{one.steps} steps of 16 to a learning rate of {one.learning_rate}, plane weight {one.plane_weight}, "
        f"empty weight {one.empty_weight}"
        for one in recipes
    )
    if anatomy == "abdomen":
        told += f'; then the frame head alone on {sum(FRAME_HEAD_SAMPLES)} samples, without the "other" planes'
    digest = hashlib.sha256("".join(sorted(one.sha256 for one in data.stills)).encode()).hexdigest()
    return BundleCard(
        name=name,
        version="1.0",
        task="segmentation",
        architecture=architecture,
        lora=None,
        base=BaseReference("included", "0" * 64),
        anatomy=anatomy,
        training_data=TrainingData("real still images", digest, f"{data.described}. {ATTRIBUTION}. {told}"),
        licence="Apache-2.0; trained on CC BY 4.0 images, which are attributed under training_data",
        intended_use=INTENDED,
        limitations=LIMITS[anatomy],
    )


def plain_images(stills: Sequence[Still], phantoms: np.ndarray | None) -> Iterator[np.ndarray]:
    """Batches of training images as the predictor sees them, for the distance to the training data.

    Args:
        stills: that trained; other organs are left out.
        phantoms: uint8 [N, S, S], phantom frames that trained.

    Yields:
        Batches of sets and planes in turn, each by patient, so that every consecutive part has some of all.
    """
    random = np.random.default_rng(0)  # nothing is random with NONE
    kinds: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for one in sorted(stills, key=lambda still: still.patient):
        if one.plane != "other":
            kinds[one.source, one.plane].append(read_grey(one.file))
    if phantoms is not None:
        places = np.linspace(0, len(phantoms) - 1, min(len(phantoms), REFERENCE_PHANTOMS)).astype(int)
        kinds["phantom", ""] = list(phantoms[places])
    placed = [(place / len(kind), image) for kind in kinds.values() for place, image in enumerate(kind)]
    placed.sort(key=lambda pair: pair[0])
    for start in range(0, len(placed), 16):
        yield np.stack([augmented(image, None, random, NONE)[0] for _, image in placed[start : start + 16]])


def weighted_samples(data: Data) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
    """Batches of augmented images, outlines and weights, one kind after another, with a progress bar."""
    random = np.random.default_rng(9)
    bar = tqdm(desc="frame head", unit="sample", total=sum(FRAME_HEAD_SAMPLES))
    for share, count, weight in zip(data.shares, FRAME_HEAD_SAMPLES, FRAME_HEAD_WEIGHTS):
        for _ in range(0, count, 25):
            indices = random.integers(len(share.samples), size=25)
            images, masks = map(np.stack, zip(*(share.samples.sample(int(index), random) for index in indices)))
            yield torch.from_numpy(images), torch.from_numpy(masks).float(), weight
            bar.update(25)
    bar.close()


def outlined_samples(data: Data) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of augmented images and outlines of the first share, which are those with an outline."""
    random, samples = np.random.default_rng(1), data.shares[0].samples
    for _ in range(EXPECTED_DICE_BATCHES):
        drawn = [samples.sample(int(index), random) for index in random.integers(len(samples), size=16)]
        images, masks = map(np.stack, zip(*drawn))
        yield torch.from_numpy(images), torch.from_numpy(masks).float()


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("anatomy", choices=["abdomen", "head"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", type=Path, help="bundle to start from (default: ImageNet weights)")
    parser.add_argument("--without", nargs="+", default=[], metavar="COUNTRY", help="leave these countries out")
    parser.add_argument("--steps", type=int, help="of one stage only (default: the recipes above)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle; must not exist")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    stills = learnt_from(read_catalogue(args.folder), args.anatomy)
    if args.without:
        stills, _ = leave_out(stills, args.without)
    model, _ = starting_model(str(args.start or IMAGENET), args.anatomy, architecture=ARCHITECTURES[args.anatomy])
    phantoms = None
    if args.anatomy == "head":
        recipes = [_shortened(HEAD_RECIPE, args.steps)]
        data = head_data(stills)
        train(model, data, recipes[0])
    else:
        frames = rendered()
        phantoms = frames.images
        stages = ABDOMEN_STAGES[:1] if args.steps else ABDOMEN_STAGES
        recipes = [_shortened(stage.recipe, args.steps) for stage in stages]
        for stage, recipe in zip(stages, recipes):
            data = abdomen_data(stills, frames, stage)
            train(model, data, recipe)
        some = [one for one in stills if one.plane != "other"]
        last = replace(ABDOMEN_STAGES[-1], phantoms=_phantoms(0.8))
        fit_frame_head(model, weighted_samples(abdomen_data(some, frames, last)))
    fit_expected_dice(model, outlined_samples(data))
    fit_reference(model, plain_images(data.stills, phantoms))
    save_bundle(model, make_card(args.anatomy, args.out.name, model.architecture, data, recipes), args.out)


def _shortened(recipe: CompactRecipe, steps: int | None) -> CompactRecipe:
    return recipe if steps is None else replace(recipe, steps=steps)


def train(model: CompactSeg, data: Data, recipe: CompactRecipe) -> None:
    """Train in place, with a progress bar."""
    print(json.dumps({"data": data.described, "recipe": asdict(recipe)}))
    bar = tqdm(desc="train", unit="step", total=recipe.steps)

    def report(step: Step) -> None:
        bar.update()
        bar.set_postfix(loss=f"{step.loss:.3f}", dice=f"{step.dice:.3f}")

    train_compact(model, data.shares, recipe, report)
    bar.close()


if __name__ == "__main__":
    main()
