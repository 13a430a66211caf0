"""The default strategy.

Few labels: cover what there is. Groups of alike frames are taken in the
order of how much anatomy the current model sees in them, and of each the frame nearest to its centre (typical
frames first, TypiClust's idea).

Then frames that look unlike the labelled ones, from four strata: likely outlines; likely ones with an
uncertain outline; near misses; and any frames, since a model trained on hard frames only expects too little. Power
noise, weaker as labels come in (ClaSP PE, arXiv 2601.13677), keeps a wrong model from choosing by itself. The
frame that would be measured, the case's best, is among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fetaliqa.active.diversity import nearest
from fetaliqa.active.frame_pool import Pool
from fetaliqa.active.selection_rules import Basket, QuerySettings

COLD_FRAMES = 24  # labelled frames up to which covering goes on
# of all frames, those with most anatomy in them, which count as likely outlines at least: a model with few labels
# calls hardly any frame positive, yet knows which of them come closest
LIKELY_SHARE = 0.02
FLOOR = 0.1  # presence that a group counts with even where the model sees nothing
SURE_FRAMES = 500  # labelled frames from which the noise is at its weakest
WEAKEST = 100.0
CANDIDATES = 400  # frames of each stratum that compete for the case
NEW = "new appearance"
BEST = "likely best frame"
ANY = "drawn at random, so that nothing is overlooked"
CHANCE = 100.0  # makes a draw outweigh all else


@dataclass(frozen=True, eq=False)
class _Stratum:
    """Frames of one kind.

    Attributes:
        share: of an answer's frames, in the long run.
        reason: for an annotator.
        members: bool [N], over the pool.
        worth: float [N], log of what makes a frame of this kind worth labelling, noise included.
        competes: whether its frames speak for a case, or are only taken from the case that was chosen.
    """

    share: float
    reason: str
    members: np.ndarray
    worth: np.ndarray
    competes: bool = True


def default_query(pool: Pool, left: np.ndarray, settings: QuerySettings, random: np.random.Generator) -> Basket:
    """Frames of one case by the default strategy; ``left`` is bool [N], the frames to choose from."""
    if pool.labelled.sum() < COLD_FRAMES:
        return _cover(pool, left, settings)
    return _uncertain_and_new(pool, left, settings, random)


def _cover(pool: Pool, left: np.ndarray, settings: QuerySettings) -> Basket:
    weight = np.bincount(pool.alike, np.where(left, FLOOR + pool.presence, 0.0)).astype(float)
    labelled = np.bincount(pool.alike[pool.labelled], minlength=len(weight))
    if (weight[labelled == 0] > 0).any():
        weight[labelled > 0] = 0
    else:  # every group has a label: those with the fewest for their weight
        weight = weight / (1 + labelled)
    sizes = np.bincount(pool.alike)
    basket = Basket(pool, settings)
    for number in np.argsort(-weight, kind="stable"):
        members = np.flatnonzero(left & (pool.alike == number))
        if basket.picks:
            members = members[pool.case[members] == pool.case[basket.picks[0].index]]
        ordered = members[np.argsort(pool.from_centre[members], kind="stable")]
        basket.fill(ordered, f"typical of {sizes[number]} frames that look alike", count=1)
    members = np.flatnonzero(left & (pool.case == pool.case[basket.picks[0].index]))
    _take(basket, members, np.zeros(len(members)), settings.frames, NEW)
    return basket


def _uncertain_and_new(
    pool: Pool, left: np.ndarray, settings: QuerySettings, random: np.random.Generator
) -> Basket:
    strata = _strata(pool, random)
    members = np.flatnonzero(left & (pool.case == _worth_most(pool, left, strata, settings)))
    basket = Basket(pool, settings)
    best = members[int(pool.quality[members].argmax())]
    if pool.positive[best]:
        basket.add(int(best), BEST, float(pool.quality[best]))
    for number in random.choice(len(strata), settings.frames, p=[stratum.share for stratum in strata]):
        stratum = strata[number]
        own = members[stratum.members[members]]
        _take(basket, own, stratum.worth[own], 1, stratum.reason)
    _take(basket, members, np.zeros(len(members)), settings.frames, NEW)
    return basket


def _strata(pool: Pool, random: np.random.Generator) -> tuple[_Stratum, ...]:
    strength = WEAKEST ** min(1.0, pool.labelled.sum() / SURE_FRAMES)
    noise = random.gumbel(size=len(pool)) / strength
    uncertain = np.log(pool.uncertainty + 1e-3) + noise
    likely, close = _likely_and_close(pool)
    present = np.log(pool.presence + 1e-3) + noise
    return (
        _Stratum(0.45, "likely outline, unlike the labelled ones", likely, present),
        _Stratum(0.15, "high disagreement along the outline", likely, uncertain),
        _Stratum(0.1, "near miss: the model is not sure that nothing is there", close, uncertain),
        _Stratum(0.3, ANY, np.ones(len(pool), bool), CHANCE * random.gumbel(size=len(pool)), competes=False),
    )


def _likely_and_close(pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """bool [N] each: frames called positive, or those that come closest; and as many that come close after."""
    count = max(int(pool.positive.sum()), round(LIKELY_SHARE * len(pool)), 1)
    worth = np.where(pool.positive, 2.0, 0.0) + pool.presence  # presence is at most 1
    # only the best are sorted: there are hundreds of thousands of frames, and somebody waits
    least = np.partition(worth, -min(2 * count, len(worth)))[-min(2 * count, len(worth))]
    order = np.flatnonzero(worth >= least)
    order = order[np.argsort(-worth[order], kind="stable")]
    likely, close = np.zeros((2, len(pool)), bool)
    likely[order[:count]], close[order[count : 2 * count]] = True, True
    return likely, close


def _worth_most(pool: Pool, left: np.ndarray, strata: tuple[_Stratum, ...], settings: QuerySettings) -> int:
    """The case whose best candidates of each stratum add up to most."""
    known = pool.embedding[pool.labelled]
    value = np.zeros(len(pool.cases))
    for stratum in strata:
        members = np.flatnonzero(left & stratum.members)
        if not stratum.competes or not len(members):
            continue
        if len(members) > CANDIDATES:
            members = members[np.argpartition(-stratum.worth[members], CANDIDATES)[:CANDIDATES]]
        worth = stratum.worth[members] + _newness(nearest(pool.embedding[members], known)[0])
        worth = worth - worth.min()
        order = np.lexsort((members, -worth, pool.case[members]))
        cases = pool.case[members[order]]
        place = np.arange(len(order)) - np.searchsorted(cases, cases)
        within_share = place < max(1, round(stratum.share * settings.frames))
        value += np.bincount(cases[within_share], worth[order][within_share], minlength=len(pool.cases))
    if value.max() <= 0:
        return int(pool.case[np.flatnonzero(left)[0]])
    return int(value.argmax())


def _newness(away: np.ndarray) -> np.ndarray:
    """Log of the distance to what is labelled; 0 everywhere when nothing is."""
    return np.zeros(len(away)) if np.isinf(away).all() else np.log(np.maximum(away, 1e-6))


def _take(basket: Basket, members: np.ndarray, worth: np.ndarray, count: int, reason: str) -> None:
    """Add up to ``count`` of some frames, one by one the one worth most and unlike those labelled or picked.

    Args:
        basket: to add to.
        members: indices into the pool, int [n].
        worth: float [n], in logarithms.
        count: of frames.
        reason: of all.
    """
    if not len(members):
        return
    pool = basket.pool
    known = np.concatenate([pool.embedding[pool.labelled], pool.embedding[[p.index for p in basket.picks]]])
    away, _ = nearest(pool.embedding[members], known)
    allowed = np.ones(len(members), bool)
    taken = 0
    while allowed.any() and not basket.full and taken < count:
        total = np.where(allowed, worth + _newness(away), -np.inf)
        place = int(total.argmax())
        allowed[place] = False
        if basket.add(int(members[place]), reason, float(total[place])):
            taken += 1
            away = np.minimum(away, nearest(pool.embedding[members], pool.embedding[members[[place]]])[0])
