"""Training recipes of the shipped models, for ``train_shipped.py``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fetaliqa.datasets.subsample import Sampling
from fetaliqa.lab.phantom import PhantomSettings
from fetaliqa.lab.phantom.phantom_seeds import TRAIN
from fetaliqa.lab.stills.still_augmentation import Settings
from fetaliqa.model import Threshold
from fetaliqa.training.compact_training import CompactRecipe
from fetaliqa.training.frame_head_fit import FrameHeadFit

PHANTOM = PhantomSettings(scale="half")
PHANTOM_SEEDS = range(TRAIN, TRAIN + 120)
PHANTOM_FRAMES = Sampling(annotated=6, hard=6, easy=3)
PHANTOM_SIDE = 320  # pixels; more than the grid, so that other views of a frame find detail
HEADS_AS_NEGATIVES = 250
REFERENCE_PHANTOMS = 150  # frames beside the stills, that the distance to the training data is fitted to
EXPECTED_DICE_BATCHES = 40  # of 16 samples, that the expected Dice is fitted to

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


@dataclass(frozen=True)
class FrameHead:
    """How the frame head alone is trained.

    Attributes:
        samples, weights: of each of the kinds of ``Stage.shares``.
        fit: the recipe.
        offset: added to the logit at the end: heavily weighted kinds lie far on their side of 0.
    """

    samples: tuple[int, ...]
    weights: tuple[float, ...]
    fit: FrameHeadFit = field(default_factory=FrameHeadFit)
    offset: float = 0.0


def phantom_settings(p_view: float, views: Settings | None = None) -> Settings:
    """Augmentation of phantoms; ``views``: settings that hold sizes and surroundings in other views."""
    return replace(views or Settings(), p_view=p_view, p_flip=0.0, rotation_deg=20.0, p_marks=0.15)


# The first stage missed abdomens, since many frames without one held the outline down; the next ones weigh these
# less in the outline's loss and leave it to the frame head to tell them apart.
ABDOMEN_STAGES = (
    Stage(
        CompactRecipe(800, learning_rate=1e-3, average=0.995, plane_weight=0.5),
        (5, 3, 1, 3, 3, 1),
        Settings(p_view=0.45),
        phantom_settings(0.5),
    ),
    Stage(
        CompactRecipe(380, learning_rate=8e-4, average=0.99, plane_weight=0.7, empty_weight=0.1, seed=1),
        (6, 3, 1, 2, 3, 1),
        Settings(p_view=0.6),
        phantom_settings(0.85),
    ),
    Stage(
        CompactRecipe(360, learning_rate=7e-4, average=0.99, plane_weight=0.7, empty_weight=0.1, seed=2),
        (7, 3, 1, 2, 2, 1),
        Settings(p_view=0.6, p_low_resolution=0.35, gain=(0.45, 1.5)),
        phantom_settings(0.95),
    ),
    Stage(
        CompactRecipe(340, learning_rate=7e-4, average=0.99, plane_weight=0.7, empty_weight=0.1, seed=3),
        (7, 3, 1, 2, 2, 1),
        Settings(p_view=0.6, p_low_resolution=0.35, gain=(0.45, 1.5)),
        phantom_settings(0.95),
    ),
)
# Then the frame head alone, on samples of these kinds: sections of a phantom beside the plane weigh more, as
# there are many in a sweep, and so do real abdomens, which must not be lost for it. Three of the twelve "other"
# planes do show an abdomen: left out from here on.
FRAME_HEAD = FrameHead((800, 500, 250, 500, 1500, 500), (30.0, 1.0, 1.0, 2.0, 4.0, 4.0))
SMALL = Settings(diameter_px=(45.0, 135.0), surround_level=(0.15, 1.3))
# A last stage for small abdomens, of which some were missed. It loses others that were found, so the weights move
# only a part of the way to what it learnt (arXiv 2109.01903). Then the frame head once more.
SMALL_STAGE = Stage(
    CompactRecipe(500, learning_rate=7e-4, average=0.99, plane_weight=0.7, empty_weight=0.1, dropout=0.1, seed=4),
    (7, 2, 1, 2, 3, 1),
    replace(SMALL, p_view=0.6, p_low_resolution=0.35, gain=(0.45, 1.5), scale=(0.45, 1.3)),
    phantom_settings(0.9, SMALL),
)
SMALL_SHARE = 0.5  # of the way
LAST_FRAME_HEAD = FrameHead(
    (1600, 600, 400, 500, 1500, 500), (400.0, 1.0, 1.0, 2.0, 4.0, 4.0), FrameHeadFit(learning_rate=3e-4), -1.3
)
VERSIONS = {"abdomen": "1.1", "head": "1.0", "femur": "1.1"}
HEAD_RECIPE = CompactRecipe(950, plane_weight=0.2)
# Femurs, from the abdomen model, as standard planes only: in another field of view, as abdomens are shown in, the
# images without a line would come out much smaller than those with one.
FEMUR_RECIPE = CompactRecipe(1500, learning_rate=1e-3, average=0.995, plane_weight=0.4)
FEMUR_SETTINGS = Settings(rotation_deg=40.0, scale=(0.55, 1.3), p_flip=0.3, p_view=0.0, p_marks=0.4)
FEMUR_SHARES = (10, 2, 2, 2)  # of each batch: femurs, abdomens, thoraces and brains, heads
# A band is 8 pixels wide: 0.002 of the grid is one of 13 pixels. At a probability of 0.5 the bands of training
# images were too short after 450 steps (median of the length's error -2.6 %, mean absolute error 8.3 %), at 0.3
# less so (-1.1 %, 7.6 %).
FEMUR_THRESHOLD = Threshold(probability=0.3, min_foreground_fraction=0.002, frame_probability=0.5)
