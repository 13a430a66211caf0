"""Training frames rendered from phantom cases: only the frames that will be used are rendered."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch

from fetaliqa.datasets.phantom import PhantomSettings
from fetaliqa.datasets.phantom.generate import CaseRenderer
from fetaliqa.training.frames import NEAR_FRAMES, FrameSet, frames_of_case, join


def frames_to_render(grades: np.ndarray, random: np.random.Generator, near: int, far: int) -> np.ndarray:
    """All annotated frames of a sweep and some others: frame numbers, sorted.

    Args:
        grades: uint8 [L], 0 where a frame is not annotated.
        random: draws the others.
        near: how many unannotated frames within ``NEAR_FRAMES`` of an annotated one.
        far: how many of the rest.
    """
    annotated = np.flatnonzero(grades > 0)
    close = near_annotated(grades)
    pools = ((np.flatnonzero(close), near), (np.flatnonzero((grades == 0) & ~close), far))
    others = [random.choice(pool, min(count, len(pool)), replace=False) for pool, count in pools]
    return np.sort(np.concatenate([annotated, *others]).astype(np.int64))


def near_annotated(grades: np.ndarray) -> np.ndarray:
    """bool [L]: unannotated frames within ``NEAR_FRAMES`` of an annotated frame of the same sweep."""
    close = np.zeros(len(grades), bool)
    for frame in np.flatnonzero(grades > 0):
        close[max(0, frame - NEAR_FRAMES) : frame + NEAR_FRAMES + 1] = True
    return close & (grades == 0)


def case_frames(seed: int, settings: PhantomSettings, near: int, far: int) -> FrameSet:
    """The training frames of one phantom case; ``near`` and ``far`` are per sweep."""
    renderer = CaseRenderer(seed, settings)
    random = np.random.default_rng([seed, near, far])
    parts = []
    for sweep, truth in enumerate(renderer.plan.truths):
        chosen = frames_to_render(truth.grade, random, near, far)
        if len(chosen):
            pictures, masks = renderer.render(sweep, chosen)
            parts.append(frames_of_case(pictures, masks, near_annotated(truth.grade)[chosen], seed))
    return join(parts)


def phantom_frames(
    seeds: Sequence[int],
    settings: PhantomSettings,
    *,
    near: int,
    far: int,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> FrameSet:
    """Training frames of many phantom cases, the same whatever the number of processes.

    Args:
        seeds: one phantom case each.
        settings: scale and layout of the phantom.
        near: hard negatives per sweep (see :func:`frames_to_render`).
        far: other negatives per sweep.
        processes: cases rendered at the same time.
        progress: called with (cases done, cases in all).
    """
    one = partial(case_frames, settings=settings, near=near, far=far)
    parts = []
    # spawned, not forked: a fork of a process whose torch threads run can hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        for part in pool.map(one, seeds):
            parts.append(part)
            if progress is not None:
                progress(len(parts), len(seeds))
    return join(parts)
