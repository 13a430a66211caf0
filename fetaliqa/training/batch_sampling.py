"""Batch sampling: a pure function of seed, step and process, so that a killed run resumes exactly.

A step's batch is drawn for all processes together; process r of w takes every w-th frame of it, starting at r.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from fetaliqa.errors import OptionError
from fetaliqa.training.augmentation import draw_changes
from fetaliqa.training.recipes import Recipe
from fetaliqa.training.training_frames import FrameSet

Item = dict[str, Any]

# per epoch of such an order, which never ends: a validation and a checkpoint every 20 steps
GROUPED_STEPS = 20
MOST_REPEATED = 4  # most repetitions of a negative frame relative to a positive one


@lru_cache(maxsize=16)
def _permutation(seed: int, pool: int, turn: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, pool, turn]).permutation(count)


def _drawn(members: np.ndarray, seed: int, pool: int, first: int, count: int) -> np.ndarray:
    """Positions ``first`` to ``first + count`` of an endless sequence of shuffled passes over ``members``."""
    positions = np.arange(first, first + count)
    turns = positions // len(members)
    chosen = [
        _permutation(seed, pool, int(turn), len(members))[position % len(members)]
        for turn, position in zip(turns, positions)
    ]
    return members[np.array(chosen, np.int64)]


@dataclass(frozen=True)
class Order:
    """The frames of every step.

    Attributes:
        pools: members of each pool (frame indices), and how many of them are in a batch.
        steps: per epoch.
        seed: of the shuffling.
        weights: float [batch], of each place in a batch; their mean is 1.
        endless: whether a single pool is sampled without end, as several pools are, instead of once per epoch.
    """

    pools: tuple[tuple[np.ndarray, int], ...]
    steps: int
    seed: int
    weights: np.ndarray
    endless: bool = False

    def batch(self, step: int) -> np.ndarray:
        """Frame indices of a step, counted over all epochs."""
        if (
            len(self.pools) == 1 and not self.endless
        ):  # every epoch is one pass; the last incomplete batch is dropped
            members, count = self.pools[0]
            epoch, place = divmod(step, self.steps)
            order = _permutation(self.seed, 0, epoch, len(members))
            return members[order[place * count : (place + 1) * count]]
        return np.concatenate(
            [
                _drawn(members, self.seed, pool, step * count, count)
                for pool, (members, count) in enumerate(self.pools)
            ]
        )


def make_order(frames: FrameSet, recipe: Recipe, seed: int, groups: np.ndarray | None = None) -> Order:
    """The order of training frames by a recipe.

    Args:
        frames: the training frames.
        recipe: how they are sampled.
        seed: of the shuffling.
        groups: int [N]; each group gets an equal share of every batch, however few its frames are, and is sampled
            within it by the recipe. None: all frames are one group.

    Raises:
        OptionError: when no frame has an outline, or there are fewer frames than a batch.
    """
    size = min(recipe.batch_size, len(frames))
    positive = frames.grades > 0
    if not positive.any():
        raise OptionError("no training frame has an outline; check labels, split and filters")
    if groups is not None:
        return _grouped_order(frames, recipe, seed, groups)
    steps = max(1, len(frames) // size)
    if recipe.sampling == "shuffle" or positive.all():
        return Order(((np.arange(len(frames)), size),), steps, seed, np.ones(size))
    pools = _balanced(frames, np.arange(len(frames)), size, recipe)
    return Order(pools, steps, seed, _place_weights(frames, pools, recipe))


Pools = tuple[tuple[np.ndarray, int], ...]


def _balanced(frames: FrameSet, members: np.ndarray, size: int, recipe: Recipe) -> Pools:
    """Pools of some frames, and how many of each are in ``size`` places: with outline, near one, far from any."""
    positive = frames.grades[members] > 0
    near = ~positive & frames.hard[members]
    far = ~positive & ~frames.hard[members]
    wanted = [round(size * recipe.positive_share), round(size * recipe.hard_share)]
    if not near.any():
        wanted[1] = 0
    if not far.any():
        wanted[1] = size - wanted[0]
    others = size - wanted[0] - wanted[1]
    if far.any() and not near.any():
        # a few empty frames must not fill half of every batch
        others = min(others, max(1, round(MOST_REPEATED * wanted[0] * far.sum() / positive.sum())))
        wanted[0] = size - others
    wanted.append(others)
    return tuple((members[mask], count) for mask, count in zip((positive, near, far), wanted) if count)


def _place_weights(frames: FrameSet, pools: Pools, recipe: Recipe) -> np.ndarray:
    """float [places of the pools], mean 1: how much more often such frames occur in sweeps than in batches."""
    if not recipe.sweep_weights:
        return np.ones(sum(count for _, count in pools))
    stand_for = np.array([frames.weights[members].sum() for members, _ in pools])
    parts = [np.full(count, part) for part, (_, count) in zip(stand_for, pools)]
    weights = np.concatenate([part / len(part) for part in parts])
    return weights * (len(weights) / weights.sum())


def _grouped_order(frames: FrameSet, recipe: Recipe, seed: int, groups: np.ndarray) -> Order:
    numbers = np.unique(groups)
    shares = [len(part) for part in np.array_split(np.arange(min(recipe.batch_size, len(frames))), len(numbers))]
    pools: Pools = ()
    weights = []
    for number, share in zip(numbers, shares):
        members = np.flatnonzero(groups == number)
        positive = frames.grades[members] > 0
        if recipe.sampling == "shuffle" or positive.all() or not positive.any():
            own: Pools = ((members, share),)
        else:
            own = _balanced(frames, members, share, recipe)
        pools += own
        weights.append(_place_weights(frames, own, recipe))
    # endless with one pool too: one pass over 45 outlined frames would be an epoch of two steps
    return Order(pools, GROUPED_STEPS, seed, np.concatenate(weights), endless=True)


class StepBatches(Dataset[Item]):
    """Training batches by step number, counted over all epochs.

    An item holds uint8 images [n, S, S], uint8 outlines [n, S, S], int64 indices [n], float weights [n] and, where
    the recipe asks for it, this process's part of the drawn changes of online augmentation.

    Args:
        frames: to take from.
        order: which frames when.
        recipe: for its online augmentation.
        seed: of the augmentation.
        rank, world: of the process.
    """

    def __init__(self, frames: FrameSet, order: Order, recipe: Recipe, seed: int, rank: int = 0, world: int = 1):
        self.frames, self.order, self.recipe, self.seed = frames, order, recipe, seed
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return self.order.steps * self.recipe.epochs

    def __getitem__(self, step: int) -> Item:
        whole = self.order.batch(step)
        own = slice(self.rank, None, self.world)
        item = frame_item(self.frames, whole[own])
        item["weights"] = torch.from_numpy(self.order.weights[own].astype(np.float32))
        if self.recipe.online is not None:
            generator = _generator(self.seed, step)
            item["changes"] = draw_changes(len(whole), generator, self.recipe.online).part(self.rank, self.world)
        return item


def _generator(*entropy: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def frame_item(frames: FrameSet, chosen: np.ndarray) -> Item:
    """Frames as an item, without changes and of equal weight."""
    return {
        "images": torch.from_numpy(np.array(frames.images[chosen])),
        "outlines": torch.from_numpy(frames.outlines(chosen)),
        "indices": torch.from_numpy(np.asarray(chosen, np.int64)),
        "weights": torch.ones(len(chosen)),
    }


class StepSampler(Sampler[int]):
    """Step numbers of one epoch; ``done`` says how many steps were taken before it.

    Read at the start of each epoch, so that a run resumes within one.
    """

    def __init__(self, steps: int, done: Any) -> None:
        self.steps, self._done = steps, done

    def __iter__(self) -> Iterator[int]:
        first = int(self._done())
        return iter(range(first, (first // self.steps + 1) * self.steps))

    def __len__(self) -> int:
        return self.steps


class OrderedBatches(Dataset[Item]):
    """All frames in their order, in batches, weighted by what they stand for; process r of w takes every w-th."""

    def __init__(self, frames: FrameSet, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.frames, self.batch_size, self.rank, self.world = frames, batch_size, rank, world

    def __len__(self) -> int:
        return -(-len(self.frames) // self.batch_size)

    def __getitem__(self, index: int) -> Item:
        first = index * self.batch_size
        chosen = np.arange(first, min(first + self.batch_size, len(self.frames)))
        own = chosen[self.rank :: self.world]
        item = frame_item(self.frames, own)
        item["weights"] = torch.from_numpy(np.array(self.frames.weights[own], np.float32))
        return item


def loader(
    batches: Dataset[Item], sampler: Sampler[int] | None, workers: int = 0, pin: bool = False
) -> DataLoader[Item]:
    """A loader of ready-made batches.

    Args:
        batches: by number.
        sampler: which of them; None: all in their order.
        workers: processes that prepare batches ahead, the same ones in every epoch.
        pin: into page-locked memory, from which a CUDA device copies them while it computes.
    """
    return DataLoader(
        batches,
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
    )
