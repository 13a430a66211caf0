"""Pools made by hand and at random."""

from __future__ import annotations

import numpy as np

from fetaliqa.active.frame_pool import Pool, make_pool
from fetaliqa.active.frame_profiles import CaseProfile
from fetaliqa.inference.frame_profile import EMBEDDING_SIZE, FrameProfile


def random_profile(case: str, seed: int, sweeps: int = 3, slots: int = 60) -> CaseProfile:
    """A case whose frames drift through appearance; the last five slots of each sweep are black."""
    random = np.random.default_rng(seed)
    used = slots - 5
    frames = np.concatenate([np.arange(sweep * slots, sweep * slots + used) for sweep in range(sweeps)])
    count = len(frames)
    presence = np.clip(np.sin(np.arange(count) / 9 + seed), 0, 1)
    embedding = 0.1 * np.cumsum(random.standard_normal((count, EMBEDDING_SIZE)), axis=0)
    profile = FrameProfile(
        frames.astype(np.int32),
        presence.astype(np.float32),
        random.random(count).astype(np.float32),
        (embedding + random.standard_normal(EMBEDDING_SIZE)).astype(np.float16),
    )
    ranges = tuple((sweep * slots, (sweep + 1) * slots) for sweep in range(sweeps))
    return CaseProfile(case, ranges, presence.astype(np.float32), presence > 0.5, profile)


def random_pool(cases: int = 5, **layout: int) -> Pool:
    """A pool of random cases, nothing labelled."""
    return make_pool(random_profile(f"case-{number}", number, **layout) for number in range(cases))


def labelled(pool: Pool, indices: np.ndarray | list[int]) -> Pool:
    """The pool once some frames are labelled."""
    known = pool.labelled.copy()
    known[indices] = True
    return pool.with_labels(known, pool.offered & ~known)
