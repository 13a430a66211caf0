"""Trains the shipped models from public still images and phantom frames; about an hour each on a CPU.

    python benchmarks/train_shipped.py head FOLDER --out runs/head
    python benchmarks/train_shipped.py abdomen FOLDER --start runs/head --out runs/abdomen
    python benchmarks/train_shipped.py femur FOLDER --start abdomen --out runs/femur
    python benchmarks/train_shipped.py abdomen FOLDER --start runs/head --without Malawi Egypt --out runs/left-out

FOLDER holds the public sets that ``fetaliqa/lab/stills/still_sources.py`` names. The head model starts from the
ImageNet weights of its encoder, the abdomen model from the head model, the femur model from the abdomen
model. Held-out images:
``fetaliqa/lab/stills/shipped_split.py``.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from shipped_recipes import (
    ABDOMEN_STAGES,
    EXPECTED_DICE_BATCHES,
    FEMUR_RECIPE,
    FEMUR_SETTINGS,
    FEMUR_SHARES,
    FEMUR_THRESHOLD,
    FRAME_HEAD,
    HEAD_RECIPE,
    HEAD_SETTINGS,
    HEADS_AS_NEGATIVES,
    LAST_FRAME_HEAD,
    PHANTOM,
    PHANTOM_FRAMES,
    PHANTOM_SEEDS,
    PHANTOM_SIDE,
    REFERENCE_PHANTOMS,
    SMALL_SHARE,
    SMALL_STAGE,
    VERSIONS,
    FrameHead,
    Stage,
)
from tqdm import tqdm

from fetaliqa.lab.distillation.student_start import IMAGENET, starting_model
from fetaliqa.lab.phantom.phantom_frames import phantom_frames
from fetaliqa.lab.stills.band_samples import BandSet
from fetaliqa.lab.stills.shipped_split import learnt_from
from fetaliqa.lab.stills.still_augmentation import NONE, Settings, augmented
from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import Still, read_grey
from fetaliqa.lab.stills.still_samples import StillSet
from fetaliqa.lab.stills.still_split import leave_out
from fetaliqa.model import (
    BaseReference,
    BundleCard,
    CompactSeg,
    Threshold,
    TrainingData,
    load_architecture,
    save_bundle,
)
from fetaliqa.model.feature_reference import fit_reference
from fetaliqa.training.compact_training import CompactRecipe, SampleSource, Share, Step, train_compact
from fetaliqa.training.frame_head_fit import fit_expected_dice, fit_frame_head
from fetaliqa.training.training_frames import FrameSet
from fetaliqa.training.weight_averaging import move_towards

ATTRIBUTION = (
    "HC18 (van den Heuvel et al. 2018, Zenodo 1327317); African planes (Sendra-Balcells et al. 2023, Zenodo "
    "7540448); FETAL_PLANES_DB (Burgos-Artizzu et al. 2020, Zenodo 3904280): all CC BY 4.0. Encoder: "
    "EfficientNet-Lite0, ImageNet weights (Apache-2.0)"
)
INTENDED = "Research and development. Not for any clinical use."
LIMITS = {
    "abdomen": "Learnt from few standard planes outlined by non-sonographers, and from synthetic phantom sweeps; "
    "no labelled blind sweep of a patient was available. Figures: docs/real-images.md.",
    "femur": "Learnt from few standard planes whose lines were drawn by a reader who is no clinician, or follow "
    "burned-in calipers; not from phantoms or sweeps, on most frames of which it was not tried. Figures: "
    "docs/real-images.md.",
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
    """Training data of a model."""

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


def femur_data(stills: Sequence[Still]) -> Data:
    """Femurs with a line; abdomens, thoraces, brains and heads as negatives."""
    femurs = [one for one in stills if one.plane == "femur"]
    abdomens = [one for one in stills if one.plane == "abdomen"]
    planes = [one for one in stills if one.plane in ("thorax", "brain")]
    heads = sorted((one for one in stills if one.plane == "head"), key=lambda one: one.sha256)
    kinds = (femurs, abdomens, planes, heads[:HEADS_AS_NEGATIVES])
    shares = [Share(BandSet(kind, "femur", FEMUR_SETTINGS), count) for kind, count in zip(kinds, FEMUR_SHARES)]
    used = [one for kind in kinds for one in kind]
    return Data(shares, used, _counts(used))


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
    samples: tuple[SampleSource, ...] = (
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


def make_card(anatomy: str, name: str, data: Data, recipes: Sequence[CompactRecipe]) -> BundleCard:
    """The card, without figures."""
    stages = "; then ".join(
        f"{one.steps} steps of 16 to a learning rate of {one.learning_rate}, plane weight {one.plane_weight}, "
        f"empty weight {one.empty_weight}"
        for one in recipes
    )
    if anatomy == "abdomen":
        stages += (
            f'; then, without the "other" planes: the frame head alone on {sum(FRAME_HEAD.samples)} samples; '
            f"{SMALL_STAGE.recipe.steps} steps with smaller abdomens, and {SMALL_SHARE} of the way to "
            f"these weights; then the frame head alone on {sum(LAST_FRAME_HEAD.samples)} samples"
        )
    digest = hashlib.sha256("".join(sorted(one.sha256 for one in data.stills)).encode()).hexdigest()
    return BundleCard(
        name=name,
        version=VERSIONS[anatomy],
        task="segmentation",
        architecture=load_architecture("compact"),
        lora=None,
        base=BaseReference("included", "0" * 64),
        anatomy=anatomy,
        training_data=TrainingData("real still images", digest, f"{data.described}. {ATTRIBUTION}. {stages}"),
        threshold=FEMUR_THRESHOLD if anatomy == "femur" else Threshold(),
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
        positions = np.linspace(0, len(phantoms) - 1, min(len(phantoms), REFERENCE_PHANTOMS)).astype(int)
        kinds["phantom", ""] = list(phantoms[positions])
    placed = [(place / len(kind), image) for kind in kinds.values() for place, image in enumerate(kind)]
    placed.sort(key=lambda pair: pair[0])
    for start in range(0, len(placed), 16):
        yield np.stack([augmented(image, None, random, NONE)[0] for _, image in placed[start : start + 16]])


def weighted_samples(data: Data, how: FrameHead) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
    """Batches of augmented images, outlines and weights, one kind after another, with a progress bar."""
    random = np.random.default_rng(9)
    bar = tqdm(desc="frame head", unit="sample", total=sum(how.samples))
    for share, count, weight in zip(data.shares, how.samples, how.weights):
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
    parser.add_argument("anatomy", choices=["abdomen", "head", "femur"])
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
    model, _ = starting_model(str(args.start or IMAGENET), args.anatomy)
    phantoms = None
    if args.anatomy == "head":
        recipes = [_shortened(HEAD_RECIPE, args.steps)]
        data = last = head_data(stills)
        train(model, data, recipes[0])
    elif args.anatomy == "femur":
        recipes = [_shortened(FEMUR_RECIPE, args.steps)]
        data = last = femur_data(stills)
        train(model, data, recipes[0])
    else:
        frames = rendered()
        phantoms = frames.images
        stages = ABDOMEN_STAGES[:1] if args.steps else ABDOMEN_STAGES
        recipes = [_shortened(stage.recipe, args.steps) for stage in stages]
        for stage, recipe in zip(stages, recipes):
            data = abdomen_data(stills, frames, stage)
            train(model, data, recipe)
        if args.steps:
            train_frame_head(model, without_others(stills), frames, ABDOMEN_STAGES[-1], FRAME_HEAD)
            last = data
        else:
            last = refine(model, without_others(stills), frames)
    fit_expected_dice(model, outlined_samples(last))
    fit_reference(model, plain_images(last.stills, phantoms))
    save_bundle(model, make_card(args.anatomy, args.out.name, data, recipes), args.out)


def without_others(stills: Sequence[Still]) -> list[Still]:
    """All but the "other" planes, some of which show an abdomen."""
    return [one for one in stills if one.plane != "other"]


def refine(model: CompactSeg, stills: Sequence[Still], frames: FrameSet) -> Data:
    """The frame head, the stage for small abdomens and the frame head again; returns what was learnt from."""
    train_frame_head(model, stills, frames, ABDOMEN_STAGES[-1], FRAME_HEAD)
    before = copy.deepcopy(model)
    data = abdomen_data(stills, frames, SMALL_STAGE)
    train(model, data, SMALL_STAGE.recipe)
    train_frame_head(model, stills, frames, SMALL_STAGE, FRAME_HEAD)
    move_towards(before, model, SMALL_SHARE)
    model.load_state_dict(before.state_dict())
    train_frame_head(model, stills, frames, SMALL_STAGE, LAST_FRAME_HEAD)
    return data


def train_frame_head(
    model: CompactSeg, stills: Sequence[Still], frames: FrameSet, stage: Stage, how: FrameHead
) -> None:
    """Train the frame head alone, on images as a stage has them, phantoms in other sectors less often."""
    stage = replace(stage, phantoms=replace(stage.phantoms, p_view=0.8))
    fit_frame_head(model, weighted_samples(abdomen_data(stills, frames, stage), how), how.fit)
    with torch.no_grad():
        model.decoder.frame[-1].bias += how.offset


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
