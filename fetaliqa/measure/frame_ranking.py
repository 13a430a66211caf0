"""Ranking of frames by quality, with temporal non-maximum suppression.

Neighbouring frames of a sweep show the same plane, so the neighbours of a selected frame are suppressed. Frames of
different sweeps are never neighbours.

Frames are ordered by ``support``: half their own quality, half the triangular mean over their neighbours in the
same sweep. The anatomy is in view for several frames in a row (median run 7 in ACOUSLIC-AI), so a single good
frame among bad ones is likely an error, and within a run of equal frames the middle one ranks first.
Out-of-distribution frames rank after all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_GAP = 15  # frames; the ACOUSLIC-AI evaluation counts planes closer than 15 frames as related
REACH = 4  # frames on each side: the window of 9 frames is about one ACOUSLIC-AI run (median 7)
UNKNOWN_WEIGHT = 0.5  # of a neighbour that was not scored


@dataclass(frozen=True)
class SweepRanking:
    """Ranking within one sweep, frames ``start`` to ``stop`` (half-open).

    Attributes:
        start, stop: half-open frame range of the sweep.
        best: best frame, or None when no frame is usable.
        frames: frame numbers in the case's stack, best first.
    """

    start: int
    stop: int
    best: int | None
    frames: tuple[int, ...]


@dataclass(frozen=True)
class CaseRanking:
    """Ranking over all sweeps of a case.

    Attributes:
        best: best frame, or None when no frame is usable.
        frames: frame numbers, best first, from any sweep.
        sweeps: the ranking of each sweep.
        reason: why there is no best frame; None when there is one.
    """

    best: int | None
    frames: tuple[int, ...]
    sweeps: tuple[SweepRanking, ...]
    reason: str | None


def rank_frames(
    quality: np.ndarray,
    positive: np.ndarray,
    ranges: Sequence[tuple[int, int]],
    top_n: int = 5,
    min_gap: int = MIN_GAP,
    unlike: np.ndarray | None = None,
) -> CaseRanking:
    """Rank the positive frames of a case.

    Args:
        quality: float [T] in [0, 1]; NaN where a frame was not scored.
        positive: bool [T]; only positive, scored frames are ranked.
        ranges: half-open frame range of each sweep; frames outside of all are ignored.
        top_n: frames to return per sweep and for the case, at least 1.
        min_gap: least distance (frames) between two returned frames of one sweep, at least 1.
        unlike: bool [T], out-of-distribution frames; None for none.

    Raises:
        ValueError: when the arrays differ in length, or an option or a range is out of bounds.

    Examples:
        Frames 10 to 14 show one plane, and only its middle is offered; frame 40 is a single good frame.

        >>> quality = np.full(60, 0.05)
        >>> quality[10:15], quality[40] = 0.8, 0.8
        >>> rank_frames(quality, quality > 0.1, [(0, 60)]).frames
        (12, 40)
    """
    unlike = np.zeros(quality.shape, bool) if unlike is None else unlike
    _check(quality, positive, unlike, ranges, top_n, min_gap)
    scored = ~np.isnan(quality)
    usable = scored & positive.astype(bool)
    support = np.full(len(quality), -np.inf)
    candidates: list[int] = []
    sweeps = []
    for start, stop in ranges:
        support[start:stop] = frame_support(quality[start:stop])
        selected = _suppressed(start, support[start:stop], usable[start:stop], unlike[start:stop], top_n, min_gap)
        candidates += selected
        sweeps.append(SweepRanking(int(start), int(stop), selected[0] if selected else None, tuple(selected)))
    # stable: equal frames keep the order of the sweeps
    frames = sorted(candidates, key=lambda frame: (unlike[frame], -support[frame]))[:top_n]
    if frames:
        return CaseRanking(frames[0], tuple(frames), tuple(sweeps), None)
    return CaseRanking(None, (), tuple(sweeps), _no_frame(int(scored.sum())))


def frame_support(quality: np.ndarray) -> np.ndarray:
    """Half own quality, half triangular mean over ``REACH`` frames each side; float [T] within one sweep.

    Frames that were not scored (NaN) or lie beyond the ends of the sweep count as 0 at half weight: an unknown
    neighbour gives less support than a good one, and within a run at an end the middle still ranks first. A frame
    that was not scored gets -inf.
    """
    scored = ~np.isnan(quality)
    if not scored.any():
        return np.full(len(quality), -np.inf)
    kernel = (REACH + 1 - np.abs(np.arange(-REACH, REACH + 1))).astype(float)
    values = np.convolve(np.where(scored, quality, 0.0), kernel)[REACH:-REACH]
    weight = np.convolve(scored.astype(float), kernel)[REACH:-REACH]
    mean = values / (weight + UNKNOWN_WEIGHT * (kernel.sum() - weight))
    return np.where(scored, (np.nan_to_num(quality) + mean) / 2, -np.inf)


def _suppressed(
    start: int, support: np.ndarray, usable: np.ndarray, unlike: np.ndarray, top_n: int, min_gap: int
) -> list[int]:
    order = [int(index) for index in np.lexsort((-support, unlike)) if usable[index]]
    selected: list[int] = []
    for index in order:
        if all(abs(index - other) >= min_gap for other in selected):
            selected.append(index)
            if len(selected) == top_n:
                break
    return [int(start) + index for index in selected]


def _no_frame(scored: int) -> str:
    if not scored:
        return "no usable frame: no frame was scored"
    which = "the one scored frame does not show" if scored == 1 else f"none of the {scored} scored frames shows"
    return f"no usable frame: {which} the anatomy large enough to count"


def _check(
    quality: np.ndarray,
    positive: np.ndarray,
    unlike: np.ndarray,
    ranges: Sequence[tuple[int, int]],
    top_n: int,
    min_gap: int,
) -> None:
    if quality.ndim != 1 or positive.shape != quality.shape or unlike.shape != quality.shape:
        raise ValueError(
            f"quality of shape {quality.shape}, positive of shape {positive.shape}, unlike of shape "
            f"{unlike.shape}; expected [T] of each"
        )
    if top_n < 1 or min_gap < 1:
        raise ValueError(f"top_n {top_n}, min_gap {min_gap}; both must be at least 1")
    for start, stop in ranges:
        if not 0 <= start < stop <= len(quality):
            raise ValueError(f"sweep of frames [{start}, {stop}) in a case of {len(quality)} frames")
