"""Training samples of the interactive model: an image, what is asked for, and sometimes a mask carried along."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from fetaliqa.atomic import atomic_path
from fetaliqa.lab.interactive.simulated_prompts import wrong_mask
from fetaliqa.lab.interactive.synthetic_objects import grey_region, random_shape, with_lesion
from fetaliqa.lab.phantom.phantom_case import CaseRenderer
from fetaliqa.lab.phantom.phantom_settings import PhantomSettings
from fetaliqa.lab.stills.still_augmentation import Settings, augmented
from fetaliqa.lab.stills.still_samples import StillSet

RUN_ARRAYS = ("images", "masks", "numbers")
MARGIN = 14  # frames before and after an annotated run that are rendered
APART = 3  # frames between a mask and the frame that it is carried to, at most


@dataclass(frozen=True, eq=False)
class PromptSample:
    """A training sample.

    Attributes:
        image: uint8 [224, 224].
        truth: the object, uint8 [224, 224] of 0 and 1; all 0 where it is not in the frame.
        carried: a mask from a neighbouring frame, uint8 [224, 224], or None.
    """

    image: np.ndarray
    truth: np.ndarray
    carried: np.ndarray | None = None


class PromptSource(Protocol):
    """A source of random samples."""

    def sample(self, rng: np.random.Generator) -> PromptSample:
        """A random sample."""


class Outlined:
    """Outlined stills; the outline is asked for."""

    def __init__(self, stills: StillSet) -> None:
        self._stills, self._indices = stills, np.flatnonzero(stills.positive)

    def sample(self, rng: np.random.Generator) -> PromptSample:
        return PromptSample(*self._stills.sample(int(rng.choice(self._indices)), rng))


class Regions:
    """Objects without an anatomy on any stills: lesions, regions of like grey where asked, a few bare shapes.

    Args:
        stills: whose images are used.
        shares: of lesions, regions of like grey, and shapes that nothing in the image shows.
    """

    def __init__(self, stills: StillSet, shares: tuple[float, float, float]) -> None:
        self._stills, self._shares = stills, shares

    def sample(self, rng: np.random.Generator) -> PromptSample:
        image, _ = self._stills.sample(int(rng.integers(len(self._stills))), rng)
        kind = rng.choice(3, p=self._shares)
        if kind == 1:
            region = grey_region(image, rng)
            if region is not None:
                return PromptSample(image, region)
        if kind == 2:
            shape = random_shape(len(image), rng, image > 0)
            return PromptSample(image, shape, wrong_mask(shape, rng))
        return PromptSample(*with_lesion(image, rng))


class Absent:
    """A mask carried to an image that does not show the object."""

    def __init__(self, outlined: Outlined, others: StillSet) -> None:
        self._outlined, self._others = outlined, others

    def sample(self, rng: np.random.Generator) -> PromptSample:
        mask = self._outlined.sample(rng).truth
        image, _ = self._others.sample(int(rng.integers(len(self._others))), rng)
        return PromptSample(image, np.zeros_like(mask), mask)


class Mixed:
    """One of several sources at random.

    Args:
        sources: of samples.
        shares: of each; they add up to 1.
    """

    def __init__(self, sources: Sequence[PromptSource], shares: Sequence[float]) -> None:
        self._sources, self._shares = sources, shares

    def sample(self, rng: np.random.Generator) -> PromptSample:
        return self._sources[int(rng.choice(len(self._sources), p=self._shares))].sample(rng)


@dataclass(frozen=True, eq=False)
class PhantomRun:
    """Frames around an annotated run of a phantom sweep, in order.

    Attributes:
        images: uint8 [N, rows, columns].
        masks: uint8 [N, rows, columns], 0 and 1.
        numbers: int [N], frame numbers within the sweep.
    """

    images: np.ndarray
    masks: np.ndarray
    numbers: np.ndarray


def phantom_runs(
    seeds: Sequence[int],
    settings: PhantomSettings,
    margin: int = MARGIN,
    progress: Callable[[], None] = lambda: None,
) -> list[PhantomRun]:
    """The annotated sweeps of phantom cases, with ``margin`` frames before and after the annotated ones."""
    runs = []
    for seed in seeds:
        renderer = CaseRenderer(seed, settings)
        for sweep, truth in enumerate(renderer.plan.truths):
            graded = np.flatnonzero(truth.grade)
            if len(graded):
                first, last = max(0, graded[0] - margin), min(len(truth.grade), graded[-1] + margin + 1)
                numbers = np.arange(first, last)
                pictures, masks = renderer.render(sweep, numbers)
                runs.append(PhantomRun(pictures, (masks > 0).astype(np.uint8), numbers))
        progress()
    return runs


def kept_runs(file: Path, render: Callable[[], list[PhantomRun]]) -> list[PhantomRun]:
    """Phantom sweeps from a file, which is written where there is none: rendering takes minutes."""
    if not file.is_file():
        runs = render()
        arrays = {f"{name}{n}": getattr(run, name) for n, run in enumerate(runs) for name in RUN_ARRAYS}
        with atomic_path(file) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, **arrays)
    with np.load(file, allow_pickle=False) as arrays:
        return [PhantomRun(*(arrays[f"{name}{n}"] for name in RUN_ARRAYS)) for n in range(len(arrays) // 3)]


class Carried:
    """Phantom frames: a mask carried to a near frame, with or without the anatomy; or an outlined frame alone.

    Args:
        runs: of phantom sweeps.
        settings: of the augmentation; both frames of a pair are changed alike.
        left: share of samples in which the anatomy has left the frame.
    """

    def __init__(self, runs: Sequence[PhantomRun], settings: Settings, left: float) -> None:
        self._runs, self._settings, self._left = runs, settings, left

    def sample(self, rng: np.random.Generator) -> PromptSample:
        run = self._runs[int(rng.integers(len(self._runs)))]
        shown = run.masks.any(axis=(1, 2))
        here = int(rng.choice(np.flatnonzero(shown)))
        gone = rng.random() < self._left
        near = np.abs(np.arange(len(shown)) - here)
        if gone:  # carried wrongly for a while already: the mask may come from further away
            there = np.flatnonzero(~shown & (near <= MARGIN))
        else:
            there = np.flatnonzero(shown & (near <= APART))
        if not len(there):
            there = np.array([here])
        target = int(rng.choice(there))
        source, truth = run.masks[here], run.masks[target]
        placed = truth if truth.any() else source
        state = copy.deepcopy(rng)
        image, mask = augmented(run.images[target], placed, rng, self._settings)
        soft = source.astype(np.float32)
        _, carried = augmented(run.images[target], placed, state, self._settings, soft=soft)
        known = np.ascontiguousarray(carried > 0.5, np.uint8)
        return PromptSample(image, mask if truth.any() else np.zeros_like(mask), known)


def mild(settings: Settings) -> Settings:
    """Settings without burned-in marks, so that a mask is changed exactly as its frame is."""
    return replace(settings, p_marks=0.0)
