"""The default query strategy: cluster coverage while labels are few, then uncertainty with novelty.

With few labels, clusters of similar frames are taken in the order of how much anatomy the current model sees in
them, and of each the frame nearest to its centre (typical frames first, as in TypiClust).

Then frames that look unlike the labelled ones, from four strata: likely outlines; likely ones with an
uncertain outline; near misses; and random frames, since a model trained on hard frames alone predicts too few
outlines. Power noise that decreases with the number of labels (ClaSP PE, arXiv 2601.13677) limits the influence
of a poor model. The best frame of the case, which would be measured, is always included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fetaliqa.active.diversity import nearest
from fetaliqa.active.frame_pool import Pool
from fetaliqa.active.selection_rules import Basket, QuerySettings

COLD_FRAMES = 24  # labelled frames below which clusters are covered first
# least share of all frames that counts as likely outlines, by presence: a model trained on few labels calls hardly
# any frame positive, but ranks them well
LIKELY_SHARE = 0.02
FLOOR = 0.1  # least presence of a frame in the weight of its cluster
LEAST_NOISE_FRAMES = 500  # labelled frames from which the noise is least
MAX_NOISE_DIVISOR = 100.0
CANDIDATES = 400  # frames of each stratum that compete for the case
NEW = "new appearance"
BEST = "likely best frame"
RANDOM = "drawn at random, for coverage"
RANDOM_PRIORITY = 100.0  # outweighs all other terms


@dataclass(frozen=True, eq=False)
class _Stratum:
    """Frames of one kind.

    Attributes:
        share: expected share of the selected frames.
        reason: shown to the annotator.
        members: bool [N], over the pool.
        worth: float [N], log priority of a frame of this kind, noise included.
        competes: whether its frames count for the choice of the case.
    """

    share: float
    reason: str
    members: np.ndarray
    worth: np.ndarray
    competes: bool = True


def default_query(pool: Pool, left: np.ndarray, settings: QuerySettings, random: np.random.Generator) -> Basket:
    """Frames of one case by the default strategy; ``left`` is bool [N], the eligible frames."""
    if pool.labelled.sum() < COLD_FRAMES:
        return _cover(pool, left, settings)
    return _uncertain_and_new(pool, left, settings, random)


def _cover(pool: Pool, left: np.ndarray, settings: QuerySettings) -> Basket:
    weight = np.bincount(pool.cluster, np.where(left, FLOOR + pool.presence, 0.0)).astype(float)
    labelled = np.bincount(pool.cluster[pool.labelled], minlength=len(weight))
    if (weight[labelled == 0] > 0).any():
        weight[labelled > 0] = 0
    else:  # every cluster has a label: prefer those with the fewest for their weight
        weight = weight / (1 + labelled)
    sizes = np.bincount(pool.cluster)
    basket = Basket(pool, settings)
    for number in np.argsort(-weight, kind="stable"):
        members = np.flatnonzero(left & (pool.cluster == number))
        if basket.picks:
            members = members[pool.case[members] == pool.case[basket.picks[0].index]]
        ordered = members[np.argsort(pool.centre_distance[members], kind="stable")]
        basket.fill(ordered, f"typical of {sizes[number]} similar frames", count=1)
    members = np.flatnonzero(left & (pool.case == pool.case[basket.picks[0].index]))
    _add_farthest(basket, members, np.zeros(len(members)), settings.frames, NEW)
    return basket


def _uncertain_and_new(
    pool: Pool, left: np.ndarray, settings: QuerySettings, random: np.random.Generator
) -> Basket:
    strata = _strata(pool, random)
    members = np.flatnonzero(left & (pool.case == _best_case(pool, left, strata, settings)))
    basket = Basket(pool, settings)
    best = members[int(pool.quality[members].argmax())]
    if pool.positive[best]:
        basket.add(int(best), BEST, float(pool.quality[best]))
    for number in random.choice(len(strata), settings.frames, p=[stratum.share for stratum in strata]):
        stratum = strata[number]
        own = members[stratum.members[members]]
        _add_farthest(basket, own, stratum.worth[own], 1, stratum.reason)
    _add_farthest(basket, members, np.zeros(len(members)), settings.frames, NEW)
    return basket


def _strata(pool: Pool, random: np.random.Generator) -> tuple[_Stratum, ...]:
    strength = MAX_NOISE_DIVISOR ** min(1.0, pool.labelled.sum() / LEAST_NOISE_FRAMES)
    noise = random.gumbel(size=len(pool)) / strength
    uncertain = np.log(pool.uncertainty + 1e-3) + noise
    likely, close = _likely_and_close(pool)
    present = np.log(pool.presence + 1e-3) + noise
    return (
        _Stratum(0.45, "likely outline, unlike the labelled ones", likely, present),
        _Stratum(0.15, "high disagreement along the outline", likely, uncertain),
        _Stratum(0.1, "near miss: uncertain whether the anatomy is shown", close, uncertain),
        _Stratum(
            0.3, RANDOM, np.ones(len(pool), bool), RANDOM_PRIORITY * random.gumbel(size=len(pool)), competes=False
        ),
    )


def _likely_and_close(pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """bool [N] each: frames called positive or nearest to it; and the same number of the next ones."""
    count = max(int(pool.positive.sum()), round(LIKELY_SHARE * len(pool)), 1)
    worth = np.where(pool.positive, 2.0, 0.0) + pool.presence  # presence is at most 1
    # only the best are sorted: the pool has hundreds of thousands of frames, and a user waits
    least = np.partition(worth, -min(2 * count, len(worth)))[-min(2 * count, len(worth))]
    order = np.flatnonzero(worth >= least)
    order = order[np.argsort(-worth[order], kind="stable")]
    likely, close = np.zeros((2, len(pool)), bool)
    likely[order[:count]], close[order[count : 2 * count]] = True, True
    return likely, close


def _best_case(pool: Pool, left: np.ndarray, strata: tuple[_Stratum, ...], settings: QuerySettings) -> int:
    """The case with the highest sum of its best candidates over the strata."""
    labelled = pool.embedding[pool.labelled]
    value = np.zeros(len(pool.cases))
    for stratum in strata:
        members = np.flatnonzero(left & stratum.members)
        if not stratum.competes or not len(members):
            continue
        if len(members) > CANDIDATES:
            members = members[np.argpartition(-stratum.worth[members], CANDIDATES)[:CANDIDATES]]
        worth = stratum.worth[members] + _novelty(nearest(pool.embedding[members], labelled)[0])
        worth = worth - worth.min()
        order = np.lexsort((members, -worth, pool.case[members]))
        cases = pool.case[members[order]]
        place = np.arange(len(order)) - np.searchsorted(cases, cases)
        within_share = place < max(1, round(stratum.share * settings.frames))
        value += np.bincount(cases[within_share], worth[order][within_share], minlength=len(pool.cases))
    if value.max() <= 0:
        return int(pool.case[np.flatnonzero(left)[0]])
    return int(value.argmax())


def _novelty(away: np.ndarray) -> np.ndarray:
    """Log distance to the nearest labelled frame; 0 when no frame is labelled."""
    return np.zeros(len(away)) if np.isinf(away).all() else np.log(np.maximum(away, 1e-6))


def _add_farthest(basket: Basket, members: np.ndarray, worth: np.ndarray, count: int, reason: str) -> None:
    """Add up to ``count`` frames, each time the one with the highest priority and novelty.

    Args:
        basket: to add to.
        members: indices into the pool, int [n].
        worth: float [n], log priority.
        count: of frames.
        reason: of all.
    """
    if not len(members):
        return
    pool = basket.pool
    chosen = np.concatenate([pool.embedding[pool.labelled], pool.embedding[[p.index for p in basket.picks]]])
    away, _ = nearest(pool.embedding[members], chosen)
    allowed = np.ones(len(members), bool)
    taken = 0
    while allowed.any() and not basket.full and taken < count:
        total = np.where(allowed, worth + _novelty(away), -np.inf)
        place = int(total.argmax())
        allowed[place] = False
        if basket.add(int(members[place]), reason, float(total[place])):
            taken += 1
            away = np.minimum(away, nearest(pool.embedding[members], pool.embedding[members[[place]]])[0])
