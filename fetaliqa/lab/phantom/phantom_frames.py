"""Training frames from phantom cases; only the selected frames are rendered."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch

from fetaliqa.datasets.subsample import Sampling
from fetaliqa.lab.phantom import PhantomSettings
from fetaliqa.lab.phantom.phantom_case import CaseRenderer
from fetaliqa.lab.phantom.phantom_truth import SweepTruth
from fetaliqa.measure.square_grid import GRID
from fetaliqa.training.training_frames import FrameSet, frames_of_case, join


def sample_sweep(
    truth: SweepTruth, sampling: Sampling, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame numbers of a sweep to render, sorted; which of them are hard negatives; how many each represents.

    Returns:
        int [N], bool [N], float [N].
    """
    negative = truth.grade == 0
    cuts_trunk = truth.semi[:, 0] > 0
    pools = (
        (np.flatnonzero(~negative), sampling.annotated, False),
        (np.flatnonzero(negative & cuts_trunk), sampling.hard, True),
        (np.flatnonzero(negative & ~cuts_trunk), sampling.easy, False),
    )
    rows = []
    for pool, wanted, hard in pools:
        count = min(wanted, len(pool))
        chosen = random.choice(pool, count, replace=False)
        rows += [(int(frame), hard, len(pool) / count) for frame in chosen]
    rows.sort()
    return (
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], bool),
        np.array([row[2] for row in rows], np.float32),
    )


def case_frames(seed: int, settings: PhantomSettings, sampling: Sampling, size: int = GRID) -> FrameSet:
    """The training frames of one phantom case."""
    renderer = CaseRenderer(seed, settings)
    random = np.random.default_rng([seed, sampling.annotated, sampling.hard, sampling.easy])
    parts = []
    for sweep, truth in enumerate(renderer.plan.truths):
        chosen, hard, weights = sample_sweep(truth, sampling, random)
        if len(chosen):
            pictures, masks = renderer.render(sweep, chosen)
            parts.append(frames_of_case(pictures, masks, hard=hard, case=seed, weights=weights, size=size))
    return join(parts)


def phantom_frames(
    seeds: Sequence[int],
    settings: PhantomSettings,
    sampling: Sampling,
    *,
    size: int = GRID,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> FrameSet:
    """Training frames of many phantom cases, the same whatever the number of processes.

    Args:
        seeds: one phantom case each.
        settings: scale and layout of the phantom.
        sampling: which frames of each sweep.
        size: side of the square grid, pixels.
        processes: cases rendered at the same time.
        progress: called with (cases done, cases in all).
    """
    one = partial(case_frames, settings=settings, sampling=sampling, size=size)
    parts = []
    # spawned, not forked: forking a process with running torch threads can hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        for part in pool.map(one, seeds):
            parts.append(part)
            if progress is not None:
                progress(len(parts), len(seeds))
    return join(parts)
