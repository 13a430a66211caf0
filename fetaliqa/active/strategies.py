"""Query strategies: the registry, and the baseline strategies (random, strided, uncertainty, diversity).

Every strategy selects frames of one case, as an annotator opens one case at a time. Measured comparisons are in
docs/active-learning.md. The default strategy is in ``fetaliqa.active.default_strategy``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fetaliqa.active.default_strategy import default_query
from fetaliqa.active.diversity import centre_most, every_nth, nearest
from fetaliqa.active.frame_pool import Pool
from fetaliqa.active.selection_rules import Basket, Pick, QuerySettings, eligible
from fetaliqa.errors import NotFoundError

FOREGROUND_SHARE = 0.5  # of the drawn frames are predicted positives; nnU-Net oversamples a third of its patches
DIVERSITY_STEP = 30  # every 30th frame is a candidate for the farthest one
DEFAULT = "fetaliqa"


@dataclass(frozen=True)
class Query:
    """A case to label, with suggested frames.

    Attributes:
        case: its id.
        picks: in the order of their frames.
    """

    case: str
    picks: tuple[Pick, ...]


Choice = Callable[[Pool, np.ndarray, QuerySettings, np.random.Generator], Basket]


def next_query(pool: Pool, strategy: str, settings: QuerySettings | None = None) -> Query | None:
    """The case and frames that a strategy selects next; None when no frame is eligible.

    Args:
        pool: the frames, with ``labelled`` and ``offered``.
        strategy: name, see ``STRATEGIES``.
        settings: the rules.

    Raises:
        NotFoundError: when there is no such strategy.
    """
    if strategy not in STRATEGIES:
        raise NotFoundError(f"there is no strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
    settings = settings or QuerySettings()
    left = eligible(pool, settings.gap)
    if not left.any():
        return None
    # the seed includes the labels: a new draw after each label, else the same one
    random = np.random.default_rng([settings.seed, int(pool.labelled.sum())])
    basket = STRATEGIES[strategy].choose(pool, left, settings, random)
    ordered = sorted(basket.picks, key=lambda pick: pick.index)
    return Query(pool.cases[pool.case[ordered[0].index]], tuple(ordered))


def _drawn_case(pool: Pool, left: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Indices of the eligible frames of a random case among those with the fewest labelled frames."""
    counts = np.bincount(pool.case[pool.labelled], minlength=len(pool.cases))
    open_cases = np.unique(pool.case[left])
    least = open_cases[counts[open_cases] == counts[open_cases].min()]
    return np.flatnonzero(left & (pool.case == random.choice(least)))


def _random(pool: Pool, left: np.ndarray, settings: QuerySettings, random: np.random.Generator) -> Basket:
    basket = Basket(pool, settings)
    basket.fill(random.permutation(_drawn_case(pool, left, random)), "drawn at random")
    return basket


def _strided(pool: Pool, left: np.ndarray, settings: QuerySettings, random: np.random.Generator) -> Basket:
    """Evenly spaced frames of each sweep."""
    basket = Basket(pool, settings)
    members = _drawn_case(pool, left, random)
    sweeps = np.unique(pool.sweep[members])
    per_sweep = min(settings.per_sweep, max(1, settings.frames // len(sweeps)))
    for sweep in random.permutation(sweeps):
        frames = members[pool.sweep[members] == sweep]
        whole = pool.frame[(pool.case == pool.case[members[0]]) & (pool.sweep == sweep)]
        for part in range(per_sweep):
            target = whole[0] + (whole[-1] - whole[0]) * (part + 0.5) / per_sweep
            by_distance = frames[np.argsort(np.abs(pool.frame[frames] - target), kind="stable")]
            basket.fill(by_distance, "evenly spaced in its sweep", count=1)
    return basket


def _foreground(pool: Pool, left: np.ndarray, settings: QuerySettings, random: np.random.Generator) -> Basket:
    """Half of the frames among those that the model calls positive, the others anywhere."""
    basket = Basket(pool, settings)
    members = _drawn_case(pool, left, random)
    positive = members[pool.positive[members]]
    basket.fill(random.permutation(positive), "drawn from predicted positives", count=_half_up(settings.frames))
    basket.fill(random.permutation(members), "drawn at random")
    return basket


def _half_up(count: int) -> int:
    return max(1, round(count * FOREGROUND_SHARE + 1e-9))


def _uncertainty(pool: Pool, left: np.ndarray, settings: QuerySettings, _: np.random.Generator) -> Basket:
    """The case whose most uncertain frames are the most uncertain."""
    value = np.where(left, pool.uncertainty, -1.0)
    borders = np.searchsorted(pool.case, np.arange(len(pool.cases) + 1))
    highest = np.full(len(pool.cases), -1.0)
    np.maximum.at(highest, pool.case, value)
    best, best_mean = Basket(pool, settings), -1.0
    for case in np.argsort(-highest, kind="stable"):
        if highest[case] <= best_mean:
            break  # a mean is at most the case's maximum, so no later case can win
        start, stop = borders[case], borders[case + 1]
        own = start + np.flatnonzero(left[start:stop])
        basket = Basket(pool, settings)
        basket.fill(
            own[np.argsort(-pool.uncertainty[own], kind="stable")],
            "high disagreement along the outline",
            pool.uncertainty,
        )
        mean = float(np.mean([pick.score for pick in basket.picks]))
        if mean > best_mean:
            best, best_mean = basket, mean
    return best


def _diversity(pool: Pool, left: np.ndarray, settings: QuerySettings, _: np.random.Generator) -> Basket:
    """Farthest first from all that is labelled (greedy k-center)."""
    basket = Basket(pool, settings)
    sample = np.flatnonzero(left)
    sparse = every_nth(pool.group(), DIVERSITY_STEP)
    sample = sample[np.isin(sample, sparse)] if np.isin(sparse, sample).any() else sample
    labelled = pool.embedding[pool.labelled]
    if len(labelled):
        distance, _index = nearest(pool.embedding[sample], labelled)
        first = sample[int(distance.argmax())]
        basket.add(int(first), "new appearance", float(distance.max()))
    else:
        first = sample[centre_most(pool.embedding[sample])]
        basket.add(int(first), "typical of all frames", 0.0)
    members = np.flatnonzero(left & (pool.case == pool.case[first]))
    distance, _index = nearest(pool.embedding[members], np.concatenate([labelled, pool.embedding[[first]]]))
    allowed = np.ones(len(members), bool)
    while not basket.full and allowed.any():
        place = int(np.where(allowed, distance, -1).argmax())
        allowed[place] = False
        if basket.add(int(members[place]), "new appearance", float(distance[place])):
            added, _index = nearest(pool.embedding[members], pool.embedding[members[[place]]])
            distance = np.minimum(distance, added)
    return basket


@dataclass(frozen=True)
class Strategy:
    """A query strategy: function, description, and whether it uses the model's predictions."""

    choose: Choice
    description: str
    reads_model: bool


STRATEGIES: dict[str, Strategy] = {
    DEFAULT: Strategy(
        default_query,
        "Covers clusters of similar frames first; then uncertain frames that look unlike the labelled ones",
        True,
    ),
    "random": Strategy(_random, "Random frames of a random case", False),
    "strided": Strategy(_strided, "Evenly spaced frames of a random case", False),
    "foreground": Strategy(_foreground, "Half of the frames among predicted positives of a random case", True),
    "uncertainty": Strategy(_uncertainty, "The case with the most uncertain outlines", True),
    "diversity": Strategy(_diversity, "The case that looks least like what is labelled", False),
}
