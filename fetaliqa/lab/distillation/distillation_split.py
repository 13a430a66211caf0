"""Split of the cases into training cases and held-out cases, on which the limits of the search are chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.lab.distillation.distillation_cases import Source

# of each hundred cases; always the same ones, so that cached teacher outputs also serve a run with more cases
HELD_OUT = frozenset(np.random.default_rng(0).permutation(100)[:25].tolist())
LEAST_HELD_OUT = 2
LEAST_CASES = 4


def split_cases(sources: Sequence[Source]) -> tuple[list[Source], list[Source]]:
    """Training and held-out cases: a quarter is held out; of fewer than ten cases it is the last two.

    Raises:
        OptionError: when there are too few.
    """
    if len(sources) < LEAST_CASES:
        raise OptionError(f"cases to distil from: {len(sources)}; {LEAST_CASES} or more are needed")
    held = [number for number in range(len(sources)) if number % 100 in HELD_OUT]
    if len(held) < LEAST_HELD_OUT:
        held = list(range(len(sources) - LEAST_HELD_OUT, len(sources)))
    training = [source for number, source in enumerate(sources) if number not in held]
    return training, [sources[number] for number in held]
