"""The error message of a training that runs out of memory, naming its stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fetaliqa.errors import TrainingError
from fetaliqa.out_of_memory import is_out_of_memory

Report = Callable[[str, int, int], None]  # stage, done, in all


def memory_ran_out(stage: str) -> TrainingError:
    """The error of a stage in which memory ran out, with the next step."""
    return TrainingError(
        f"memory ran out in the stage {stage!r}; close other programs that use the same card or memory, or "
        "compute on the CPU (--accelerator cpu, of a server --conf device cpu), and resume: what is done is kept"
    )


@contextmanager
def memory_watched(report: Report) -> Iterator[Report]:
    """Yields a wrapped ``report``; when memory runs out, the error names the stage reported last.

    Raises:
        TrainingError: when memory ran out.
    """
    stage = "start"

    def recorded(name: str, done: int, total: int) -> None:
        nonlocal stage
        stage = name
        report(name, done, total)

    try:
        yield recorded
    except Exception as problem:
        if is_out_of_memory(problem):
            raise memory_ran_out(stage) from problem
        raise
