"""The pool of frames that may be labelled, as arrays (one entry per frame)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fetaliqa.active.diversity import cluster_frames
from fetaliqa.active.frame_profiles import CaseProfile

THINNING = 10  # every tenth frame is used to fit the clusters


@dataclass(frozen=True, eq=False)
class Pool:
    """Columns over frames, each [N], in the order of cases and frames.

    Attributes:
        cases: names of the cases.
        case: int32, index into ``cases``.
        frame: int32, frame number in its case.
        sweep: int32, sweep number in its case, from 0.
        presence, uncertainty: float32, see ``FrameProfile``.
        quality: float32, quality score.
        positive: bool; the model calls the frame positive.
        embedding: float32 [N, D], each dimension of unit spread over the pool.
        cluster: int32, cluster of similar frames.
        centre_distance: float32, distance to the centre of that cluster.
        labelled: bool; a rater has reviewed the frame.
        offered: bool; may be offered: neither labelled nor in a case leased to another rater.
    """

    cases: tuple[str, ...]
    case: np.ndarray
    frame: np.ndarray
    sweep: np.ndarray
    presence: np.ndarray
    uncertainty: np.ndarray
    quality: np.ndarray
    positive: np.ndarray
    embedding: np.ndarray
    cluster: np.ndarray
    centre_distance: np.ndarray
    labelled: np.ndarray
    offered: np.ndarray

    def __len__(self) -> int:
        return len(self.case)

    def with_labels(self, labelled: np.ndarray, offered: np.ndarray) -> Pool:
        """The same frames with other ``labelled`` and ``offered``, bool [N]."""
        return replace(self, labelled=labelled, offered=offered)

    def group(self) -> np.ndarray:
        """int64 [N]: one number for each sweep of each case."""
        return _sweep_numbers(self.case, self.sweep)

    def mark(self, frames: Mapping[str, Iterable[int]]) -> np.ndarray:
        """bool [N]: the frames of a mapping from case to frame numbers; those not in the pool are left out."""
        marked = np.zeros(len(self), bool)
        starts = np.searchsorted(self.case, np.arange(len(self.cases) + 1))
        index = {name: number for number, name in enumerate(self.cases)}
        for name, numbers in frames.items():
            if name not in index:
                continue
            start, stop = starts[index[name]], starts[index[name] + 1]
            marked[start:stop] = np.isin(self.frame[start:stop], np.fromiter(numbers, np.int64))
        return marked

    def of_cases(self, names: Iterable[str]) -> np.ndarray:
        """bool [N]: all frames of some cases."""
        wanted = set(names)
        return np.array([name in wanted for name in self.cases], bool)[self.case]


def make_pool(profiles: Iterable[CaseProfile]) -> Pool:
    """A pool of cases, ordered by name, in which everything may be offered.

    Raises:
        ValueError: without a case.
    """
    chosen = sorted(profiles, key=lambda one: one.case)
    if not chosen:
        raise ValueError("no case has a profile")
    sweeps = []
    for one in chosen:
        starts = np.array([start for start, _ in one.ranges])
        sweeps.append(np.searchsorted(starts, one.profile.frames, side="right") - 1)
    count = sum(len(one.profile.frames) for one in chosen)
    embedding = np.concatenate([one.profile.embedding for one in chosen]).astype(np.float32)
    spread = embedding.std(axis=0)
    embedding = (embedding - embedding.mean(axis=0)) / np.where(spread > 0, spread, 1)
    case = np.repeat(np.arange(len(chosen), dtype=np.int32), [len(one.profile.frames) for one in chosen])
    sweep = np.concatenate(sweeps).astype(np.int32)
    cluster, centre_distance = cluster_frames(embedding, _sweep_numbers(case, sweep), THINNING)
    return Pool(
        tuple(one.case for one in chosen),
        case,
        np.concatenate([one.profile.frames for one in chosen]).astype(np.int32),
        sweep,
        np.concatenate([one.profile.presence for one in chosen]).astype(np.float32),
        np.concatenate([one.profile.uncertainty for one in chosen]).astype(np.float32),
        np.concatenate([one.quality for one in chosen]).astype(np.float32),
        np.concatenate([one.positive for one in chosen]).astype(bool),
        embedding,
        cluster,
        centre_distance,
        np.zeros(count, bool),
        np.ones(count, bool),
    )


def _sweep_numbers(case: np.ndarray, sweep: np.ndarray) -> np.ndarray:
    return case.astype(np.int64) * 100_000 + sweep
