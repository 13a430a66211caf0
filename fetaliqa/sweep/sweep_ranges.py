"""Black padding slots of a stack, and the frame ranges of its sweeps."""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from fetaliqa.errors import OptionError

Ranges: TypeAlias = tuple[tuple[int, int], ...]
SweepsOption: TypeAlias = int | Sequence[tuple[int, int]] | None

BLACK_LEVEL = 4
"""Grey levels (of 255). A slot without a brighter pixel is black. Padding is exactly 0 in a lossless file; a lossy
codec may add a level or two. A real frame has echoes near 255 at the probe, even without contact."""

MIN_TAIL = 5
"""Slots. A run of black slots of at least this length ends a sweep; shorter runs are frames lost within a sweep.
The tails of ACOUSLIC-AI sweeps have 15 slots or more (100-125 frames in 140 slots)."""


def black_slots(frames: np.ndarray) -> np.ndarray:
    """Return which slots are black.

    Args:
        frames: uint8 [T, H, W].

    Returns:
        bool [T].
    """
    return frames.reshape(len(frames), -1).max(axis=1) <= BLACK_LEVEL


def _black_runs(padding: np.ndarray) -> list[tuple[int, int]]:
    """Half-open runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], padding, [False])).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def infer_ranges(padding: np.ndarray) -> Ranges:
    """Find the sweeps of a stack from the black slots that pad the tail of each.

    A run of at least ``MIN_TAIL`` black slots ends a sweep; the next begins after it. A sweep that fills all of
    its slots has no tail and would merge with the next. Therefore, if the length of the shortest sweep divides
    every start and the total, all sweeps are assumed to have that length, and a range without any image is a sweep
    that was not acquired. Without such a run there is one sweep.

    Args:
        padding: bool [T], True where the slot is black.

    Returns:
        Half-open ranges, contiguous from 0 to T.

    Examples:
        >>> infer_ranges(np.array([False] * 30 + [True] * 10 + [False] * 35 + [True] * 5))
        ((0, 40), (40, 80))
    """
    count = len(padding)
    starts = [0]
    for start, stop in _black_runs(padding):
        if stop - start >= MIN_TAIL and start > 0 and stop < count:
            starts.append(stop)
    borders = [*starts, count]
    slot_length = min(stop - start for start, stop in itertools.pairwise(borders))
    if len(starts) > 1 and all(border % slot_length == 0 for border in borders):
        borders = list(range(0, count + 1, slot_length))
    return tuple(itertools.pairwise(borders))


def equal_ranges(sweeps: int, count: int, name: str) -> Ranges:
    """Cut ``count`` slots into ``sweeps`` equal ranges.

    Raises:
        OptionError: when that is not possible.
    """
    if sweeps < 1:
        raise OptionError(f"sweeps = {sweeps}: the number of sweeps must be 1 or more")
    if count % sweeps:
        raise OptionError(
            f"sweeps = {sweeps}: the {count} frames of {name} do not divide into {sweeps} equal sweeps; "
            "give a number that divides them, or none to detect the sweeps by black padding"
        )
    length = count // sweeps
    return tuple((index * length, (index + 1) * length) for index in range(sweeps))


def checked_ranges(ranges: Sequence[tuple[int, int]], count: int, name: str) -> Ranges:
    """Return ``ranges`` as a tuple when they cover the ``count`` slots in order, without gap or overlap.

    Raises:
        OptionError: otherwise, naming the invalid range.
    """
    checked: list[tuple[int, int]] = []
    position = 0
    for item in ranges:
        try:
            start, stop = (operator.index(end) for end in item)
        except (TypeError, ValueError):
            raise OptionError(f"sweep range {item!r}: a range is two whole numbers, start and stop") from None
        if start != position or stop <= start or stop > count:
            raise OptionError(
                f"sweep range {start}:{stop}: the ranges must follow each other without gap or overlap from 0 "
                f"to {count}, the number of frames of {name}"
            )
        checked.append((start, stop))
        position = stop
    if position != count:
        raise OptionError(f"sweep ranges end at {position}; they must cover all {count} frames of {name}")
    return tuple(checked)


def parse_ranges(text: str) -> Ranges:
    """Read ranges written as ``0:140,140:280``.

    Raises:
        OptionError: when the text is not of that form.

    Examples:
        >>> parse_ranges("0:140, 140:280")
        ((0, 140), (140, 280))
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,9}\s*:\s*\d{1,9}", part) for part in parts):
        raise OptionError(f"sweep ranges {text[:80]!r}: expected start:stop pairs, as in 0:140,140:280")
    pairs = [part.split(":") for part in parts]
    return tuple((int(start), int(stop)) for start, stop in pairs)


def resolve(sweeps: SweepsOption, padding: np.ndarray, name: str) -> Ranges:
    """Return the given sweep ranges, or infer them.

    Args:
        sweeps: number of equal sweeps, explicit ranges, or None.
        padding: bool [T], True where the slot is black.
        name: the case, for messages.

    Raises:
        OptionError: when ``sweeps`` does not fit the number of frames.
    """
    if sweeps is None:
        return infer_ranges(padding)
    if isinstance(sweeps, (bool, str)):
        raise OptionError(f"sweeps = {sweeps!r}: expected a number of sweeps or a list of frame ranges")
    if isinstance(sweeps, (int, np.integer)):
        return equal_ranges(int(sweeps), len(padding), name)
    return checked_ranges(sweeps, len(padding), name)
