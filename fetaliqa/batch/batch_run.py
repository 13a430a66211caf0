"""Scores cases by an engine: shards first, then, one by one, what was lost with the processes that had it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from fetaliqa.batch.batch_job import FAILED, LOST, Case, Outcome

Shard = tuple[Case, ...]


class Engine(Protocol):
    """Who computes.

    Attributes:
        attempts: how often a case is tried whose process ends before it is through.
        shard_size: cases that one process is given at a time.
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
    """Score cases, each once, whatever happens to the processes.

    What is lost is tried again one by one: a case that takes its process down with it costs no other case, and is
    reported as failed when it did so ``engine.attempts`` times.

    Yields:
        One outcome for each case, in the order in which they are through; none of them is ``lost``.
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
                reason = f"{outcome.case.path.name}: {outcome.reason}, {attempt} times in all"
                yield Outcome(outcome.case, FAILED, reason)
        if not lost:
            return
        shards = [(outcome.case,) for outcome in lost]


def in_order(cases: Sequence[Case], outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Outcomes in the order of the cases, each as soon as those before it are there."""
    waiting: dict[Case, Outcome] = {}
    expected = iter(cases)
    next_case = next(expected, None)
    for outcome in outcomes:
        waiting[outcome.case] = outcome
        while next_case in waiting:
            yield waiting.pop(next_case)
            next_case = next(expected, None)
