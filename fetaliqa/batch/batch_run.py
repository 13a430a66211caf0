"""Scores cases with an engine: in shards first, then lost cases one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from fetaliqa.batch.batch_job import FAILED, LOST, Case, Outcome

Shard = tuple[Case, ...]


class Engine(Protocol):
    """Computes cases in one or several processes.

    Attributes:
        attempts: how often a case is tried when its process ends before it is completed.
        shard_size: number of cases that a process gets at a time.
    """

    attempts: int
    shard_size: int

    def run(self, shards: Sequence[Shard]) -> Iterator[Outcome]:
        """Yield one outcome for each case of the shards, in any order.

        Raises:
            FetalIQAError: when no case can be scored.
            OSError: when results cannot be written.
        """
        ...


def score_cases(engine: Engine, cases: Sequence[Case]) -> Iterator[Outcome]:
    """Score cases, each once, also when processes die.

    Lost cases are tried again one by one: a case that ends its process affects no other case, and is reported as
    failed after ``engine.attempts`` attempts.

    Yields:
        One outcome for each case, in the order of their completion; none of them is ``lost``.
    """
    size = engine.shard_size
    shards = [tuple(cases[start : start + size]) for start in range(0, len(cases), size)]
    for attempt in range(1, engine.attempts + 1):
        lost: list[Outcome] = []
        for outcome in engine.run(shards):
            if outcome.status != LOST:
                yield outcome
            elif attempt < engine.attempts:
                lost.append(outcome)
            else:
                reason = f"{outcome.case.path.name}: {outcome.reason}, in each of {attempt} attempts"
                yield Outcome(outcome.case, FAILED, reason)
        if not lost:
            return
        shards = [(outcome.case,) for outcome in lost]


def in_order(cases: Sequence[Case], outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Outcomes in the order of the cases, each as soon as those before it have arrived."""
    waiting: dict[Case, Outcome] = {}
    expected = iter(cases)
    next_case = next(expected, None)
    for outcome in outcomes:
        waiting[outcome.case] = outcome
        while next_case in waiting:
            yield waiting.pop(next_case)
            next_case = next(expected, None)
