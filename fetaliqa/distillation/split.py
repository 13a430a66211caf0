"""Cases to learn from, and cases to choose the limits of the search on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fetaliqa.distillation.sources import Source
from fetaliqa.errors import OptionError

HELD_OUT = 0.25  # of the cases; with 100 of six sweeps, 2 % of what the limits are chosen on are 3 sweeps
LEAST_CASES = 4
SPLIT_SEED = 0


def parted(sources: Sequence[Source]) -> tuple[list[Source], list[Source]]:
    """Training and held-out cases, drawn at random, the same ones each time.

    Raises:
        OptionError: when there are too few.
    """
    if len(sources) < LEAST_CASES:
        raise OptionError(f"cases to distil from: {len(sources)}; {LEAST_CASES} or more are needed")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(sources))
    held = set(order[: max(2, round(HELD_OUT * len(sources)))].tolist())
    training = [source for number, source in enumerate(sources) if number not in held]
    return training, [sources[number] for number in sorted(held)]
