"""Diversity of frames: clusters of similar embeddings, and distances to the labelled frames."""

from __future__ import annotations

import warnings

import numpy as np

GROUPS = 48
ITERATIONS = 20
MAX_SAMPLE = 4000  # frames that clusters are fitted to; all others are assigned to the nearest centre
CHUNK = 8192  # frames compared at a time


def every_nth(group: np.ndarray, step: int) -> np.ndarray:
    """Indices of every ``step``-th frame of each sweep (``group``, int [N]); neighbouring frames are similar."""
    starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    place = np.arange(len(group)) - np.repeat(starts, np.diff(np.append(starts, len(group))))
    return np.flatnonzero(place % step == 0)


def cluster_frames(
    embedding: np.ndarray, group: np.ndarray, step: int, seed: int = 0, groups: int = GROUPS
) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of similar frames (k-means on the embeddings of every ``step``-th frame).

    Args:
        embedding: float [N, D], of frames in the order of sweeps.
        group: int [N], which sweep each is of.
        step: see :func:`every_nth`.
        seed: of the start.
        groups: how many.

    Returns:
        int32 [N], the cluster of each frame; float32 [N], its distance to the cluster's centre.
    """
    from scipy.cluster.vq import kmeans2  # imported here: it takes a tenth of the server's start-up

    chosen = every_nth(group, step)
    sample = embedding[chosen[:: -(-len(chosen) // MAX_SAMPLE)]]
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", UserWarning)  # of empty clusters: fewer distinct frames than clusters
        centres, _ = kmeans2(sample, min(groups, len(sample)), iter=ITERATIONS, minit="++", seed=seed)
    distance, index = nearest(embedding, centres, with_index=True)
    return index.astype(np.int32), distance


def nearest(points: np.ndarray, others: np.ndarray, *, with_index: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distance of each point [n, D] to the nearest of others [m, D], float32 [n]; and which, int [n].

    Without others all distances are infinite.
    """
    if not len(others):
        return np.full(len(points), np.inf, np.float32), np.zeros(len(points), np.int64)
    others = others.astype(np.float32)
    square = (others**2).sum(axis=1)
    best, index = np.empty(len(points), np.float32), np.zeros(len(points), np.int64)
    for start in range(0, len(points), CHUNK):
        part = points[start : start + CHUNK]
        rest = square - 2 * (part @ others.T)
        if with_index:
            index[start : start + CHUNK] = rest.argmin(axis=1)
        best[start : start + CHUNK] = rest.min(axis=1) + (part**2).sum(axis=1)
    return np.sqrt(np.maximum(best, 0)), index


def centre_most(points: np.ndarray) -> int:
    """Index of the point [n, D] nearest to the mean of all."""
    return int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin())
