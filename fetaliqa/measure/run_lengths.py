"""Masks as run lengths, row by row, beginning with zeros: small enough for JSON, and the same in any language."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fetaliqa.errors import OptionError

MAX_RUN = 2**31 - 1


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of equal pixels of a mask, row by row, the first of zeros (it may be 0).

    Args:
        mask: integer or bool [H, W]; non-zero is foreground.

    Examples:
        >>> run_lengths(np.array([[0, 1, 1], [1, 0, 0]]))
        [1, 3, 2]
        >>> run_lengths(np.ones((2, 2)))
        [0, 4]
    """
    flat = np.concatenate([[False], np.ravel(mask) != 0])
    edges = np.flatnonzero(np.diff(flat))
    lengths = np.diff(np.concatenate([[0], edges, [flat.size - 1]]))
    return [int(length) for length in lengths]


def mask_from_runs(runs: Sequence[int], shape: tuple[int, int], what: str = "mask") -> np.ndarray:
    """The mask of run lengths, uint8 [H, W] of 0 and 1: the inverse of :func:`run_lengths`.

    Args:
        runs: as :func:`run_lengths` returns them; runs of length 0 are accepted anywhere.
        shape: (rows, columns).
        what: name of the mask in messages.

    Raises:
        OptionError: when a run is no whole number from 0, or they do not add up to rows x columns.
    """
    for run in runs:
        if not isinstance(run, int) or isinstance(run, bool) or not 0 <= run <= MAX_RUN:
            raise OptionError(f"{what}: a run of {str(run)[:20]}; runs are whole numbers from 0 on")
    total = sum(runs)
    rows, columns = shape
    if total != rows * columns:
        raise OptionError(
            f"{what}: its runs add up to {total} pixels; {rows} x {columns} = {rows * columns} are needed"
        )
    values = np.arange(len(runs), dtype=np.int64) % 2
    return np.repeat(values.astype(np.uint8), np.array(runs, np.int64)).reshape(rows, columns)
