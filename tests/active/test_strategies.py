"""What every strategy keeps to, and what each is for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pools import labelled, random_pool, random_profile

from fetaliqa.active.frame_pool import Pool, make_pool
from fetaliqa.active.selection_rules import QuerySettings, eligible
from fetaliqa.active.strategies import STRATEGIES, Query, next_query
from fetaliqa.errors import NotFoundError, OptionError
from fetaliqa.inference.frame_profile import EMBEDDING_SIZE, FrameProfile

SETTINGS = QuerySettings(frames=6, per_sweep=2, gap=15, seed=3)


def spent(pool: Pool, strategy: str, settings: QuerySettings = SETTINGS) -> tuple[Pool, list[Query]]:
    """Label everything that a strategy asks for, until it asks for nothing."""
    queries = []
    while (query := next_query(pool, strategy, settings)) is not None:
        queries.append(query)
        assert len(queries) < 500
        pool = labelled(pool, [pick.index for pick in query.picks])
    return pool, queries


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_rules_hold_to_the_end(strategy: str) -> None:
    pool = random_pool()
    end, queries = spent(pool, strategy)
    seen: set[int] = set()
    for query in queries:
        indices = [pick.index for pick in query.picks]
        assert 1 <= len(indices) <= 6
        assert {pool.cases[pool.case[index]] for index in indices} == {query.case}
        assert max(Counter(pool.sweep[indices].tolist()).values()) <= 2
        assert indices == sorted(indices)
        assert not seen & set(indices), "a labelled frame was offered again"
        seen |= set(indices)
        assert all(pick.reason for pick in query.picks)
        assert all(np.isfinite(pick.score) for pick in query.picks)
    for sweep in np.unique(pool.group()):
        frames = np.sort(pool.frame[end.labelled & (pool.group() == sweep)])
        assert len(frames), "a sweep was never opened"
        assert np.diff(frames).min(initial=15) >= 15
    assert not eligible(end, 15).any(), "the pool was called exhausted with frames left"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_same_labels_same_answer_and_another_seed_another(strategy: str) -> None:
    pool = labelled(random_pool(), [5, 200, 400])
    assert next_query(pool, strategy, SETTINGS) == next_query(pool, strategy, SETTINGS)
    if strategy in ("random", "strided", "foreground"):
        answers = {next_query(pool, strategy, QuerySettings(frames=6, seed=seed)).picks for seed in range(8)}
        assert len(answers) > 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ties_are_broken_the_same_way(strategy: str) -> None:
    frames = np.arange(40, dtype=np.int32)
    flat = FrameProfile(
        frames,
        np.full(40, 0.5, np.float32),
        np.full(40, 0.5, np.float32),
        np.zeros((40, EMBEDDING_SIZE), np.float16),
    )
    one = random_profile("a", 0)
    alike = [type(one)(name, ((0, 40),), flat.presence, np.ones(40, bool), flat) for name in ("a", "b")]
    first, second = (next_query(make_pool(cases), strategy, SETTINGS) for cases in (alike, alike[::-1]))
    assert first is not None
    assert first == second


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_not_offered_is_not_asked_for(strategy: str) -> None:
    pool = random_pool()
    mask = pool.of_cases(["case-2"])
    _, queries = spent(pool.with_labels(pool.labelled, mask), strategy)
    assert {query.case for query in queries} == {"case-2"}


def test_uncertainty_goes_by_what_a_case_can_offer_not_by_a_crowd_of_alike_frames() -> None:
    pool = random_pool(slots=400)
    uncertainty = np.full(len(pool), 0.1, np.float32)
    crowd, spread = (np.flatnonzero(pool.of_cases([case])) for case in ("case-0", "case-1"))
    uncertainty[crowd[:90]] = 0.9  # within the gap: one of them only can be offered
    settings = QuerySettings(frames=4, per_sweep=4, gap=90)
    uncertainty[spread[:271:90]] = 0.6
    query = next_query(_with(pool, uncertainty=uncertainty), "uncertainty", settings)
    assert query is not None
    assert query.case == "case-1"
    assert [pick.score for pick in query.picks] == pytest.approx([0.6] * 4)


def test_uncertainty_takes_the_most_uncertain_case() -> None:
    pool = random_pool()
    certain = np.where(pool.of_cases(["case-3"]), pool.uncertainty, 0.001 * pool.uncertainty)
    query = next_query(_with(pool, uncertainty=certain.astype(np.float32)), "uncertainty", SETTINGS)
    assert query is not None
    assert query.case == "case-3"
    best = np.flatnonzero(pool.of_cases(["case-3"]))
    assert best[pool.uncertainty[best].argmax()] in [pick.index for pick in query.picks]


def test_foreground_takes_half_of_its_frames_among_positives() -> None:
    pool = random_pool()
    shares = []
    for seed in range(20):
        query = next_query(pool, "foreground", QuerySettings(frames=6, per_sweep=6, gap=3, seed=seed))
        assert query is not None
        shares.append(np.mean([pool.positive[pick.index] for pick in query.picks]))
    assert np.mean(shares) > pool.positive.mean() + 0.15


def test_strided_frames_are_spread_over_their_sweep() -> None:
    query = next_query(random_pool(), "strided", QuerySettings(frames=6, per_sweep=2))
    assert query is not None
    pool = random_pool()
    places = sorted(pool.frame[pick.index] % 60 for pick in query.picks)
    assert places[:3] == [13, 13, 13]  # a quarter and three quarters of 54
    assert places[3:] == [40, 40, 40]


def test_diversity_asks_for_what_looks_least_like_the_labelled() -> None:
    pool = labelled(random_pool(), [0, 100, 300])
    query = next_query(pool, "diversity", QuerySettings(frames=1, gap=1))
    assert query is not None
    distance = np.linalg.norm(pool.embedding[:, None] - pool.embedding[[0, 100, 300]][None], axis=2).min(axis=1)
    assert query.picks[0].score == pytest.approx(distance[query.picks[0].index], abs=1e-3)
    # looked for among thinned frames: neighbours are much alike
    assert distance[query.picks[0].index] > np.quantile(distance[eligible(pool, 1)], 0.9)


def test_the_default_covers_groups_before_it_trusts_the_model() -> None:
    pool = random_pool()
    queries = []
    for _ in range(4):
        query = next_query(pool, "fetaliqa", SETTINGS)
        assert query is not None
        queries.append(query)
        pool = labelled(pool, [pick.index for pick in query.picks])
    typical = [pick.index for query in queries for pick in query.picks if "similar frames" in pick.reason]
    assert len(typical) >= 12
    assert len(set(pool.cluster[typical])) == len(typical)
    assert len({query.case for query in queries}) > 1


def test_the_default_offers_the_best_frame_once_it_knows_something() -> None:
    pool = random_pool()
    pool = labelled(pool, np.flatnonzero(pool.of_cases(["case-0"]))[::6])
    query = next_query(pool, "fetaliqa", SETTINGS)
    assert query is not None
    best = [pick for pick in query.picks if pick.reason == "likely best frame"]
    assert len(best) == 1
    members = np.flatnonzero(eligible(pool, 15) & pool.of_cases([query.case]))
    assert pool.quality[best[0].index] == pool.quality[members].max()


def test_the_default_looks_beyond_what_the_model_sees() -> None:
    pool = random_pool(12)
    pool = labelled(pool, np.flatnonzero(pool.of_cases(["case-0"]))[::6])
    _, queries = spent(pool, "fetaliqa")
    reasons = Counter(pick.reason for query in queries for pick in query.picks)
    assert any("at random" in reason for reason in reasons)
    assert any("disagreement" in reason for reason in reasons)


def test_unknown_strategy() -> None:
    with pytest.raises(NotFoundError, match="'best'; known: fetaliqa, random"):
        next_query(random_pool(2), "best")


@pytest.mark.parametrize(
    ("name", "value"),
    [("frames", 0), ("frames", True), ("per_sweep", "2"), ("gap", 0), ("seed", -1), ("gap", 1.5)],
)
def test_settings_that_cannot_be_used(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"{name} is {value!r}"):
        QuerySettings(**{name: value})  # type: ignore[arg-type]


def _with(pool: Pool, **columns: np.ndarray) -> Pool:
    return type(pool)(**{**vars(pool), **columns})
