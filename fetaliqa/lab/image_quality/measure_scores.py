"""Scores of the frames of a case by each image quality measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.lab.image_quality.measure_list import MEASURES, ClassicMeasure, FrameFunction, runnable_measures
from fetaliqa.measure.field_of_view import field_of_view

Progress = Callable[[int, int], None]


def classic_scores(
    frames: np.ndarray,
    padding: np.ndarray,
    ranges: Sequence[tuple[int, int]],
    names: Sequence[str] | None = None,
    *,
    trained: Mapping[str, FrameFunction] | None = None,
    sector: np.ndarray | None = None,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Score all frames of a case, inside the bounding box of its field of view.

    A measure that needs neighbours is the mean over the frames directly before and after, as far as they lie in
    the same sweep and are not padding.

    Args:
        frames: uint8 [T, H, W].
        padding: bool [T], True for black slots, which are not scored and not used as neighbours.
        ranges: half-open frame range of each sweep.
        names: keys of ``MEASURES``; None for all that can run here without training.
        trained: for each trained measure in ``names``, what scores a frame (``trained_measures.train_measure``).
        sector: [H, W], non-zero inside the field of view; None to find it from the frames.
        progress: called with (steps done, steps in all), one step per measure and frame.

    Returns:
        For each name, float64 [T]; NaN for padding, for a frame without neighbours where they are needed, where a
        measure is not defined (a box too small for it, a frame its model cannot be fitted to).

    Raises:
        OptionError: for an unknown name, or a measure that cannot run here (saying why).
        ValueError: when the arrays do not fit together.
    """
    _check(frames, padding, ranges, sector)
    measures = _measures(names, trained or {})
    usable = np.flatnonzero(~padding.astype(bool))
    if not len(usable):
        return {measure.name: np.full(len(frames), np.nan) for measure in measures}
    inside = (field_of_view(frames[usable]) if sector is None else np.asarray(sector)) > 0
    box = bounding_box(inside)
    inside = inside[box]
    done, steps = 0, len(measures) * len(usable)

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, steps)

    cut = frames[:, box[0], box[1]]
    return {measure.name: _scores(measure, cut, inside, usable, ranges, step) for measure in measures}


def _scores(
    measure: ClassicMeasure,
    frames: np.ndarray,
    inside: np.ndarray,
    usable: np.ndarray,
    ranges: Sequence[tuple[int, int]],
    step: Callable[[], None],
) -> np.ndarray:
    scores = np.full(len(frames), np.nan)
    defined = min(frames.shape[1:]) >= measure.min_side
    before = _neighbour_before(len(frames), usable, ranges)
    # sums over the neighbours, and how many there are
    total, count = np.zeros(len(frames)), np.zeros(len(frames))
    for index in usable:
        if defined and measure.score is not None:
            scores[index] = measure.score(frames[index], inside)
        elif defined and measure.compare is not None and before[index] >= 0:
            other = before[index]
            back = measure.compare(frames[index], frames[other])
            ahead = back if measure.symmetric else measure.compare(frames[other], frames[index])
            total[[index, other]] += back, ahead
            count[[index, other]] += 1
        step()
    if measure.needs_neighbours:
        scores[count > 0] = total[count > 0] / count[count > 0]
    scores[~np.isfinite(scores)] = np.nan
    return scores


def _neighbour_before(length: int, usable: np.ndarray, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
    """Int [T]: the frame directly before, in the same sweep and no padding; -1 where there is none."""
    before = np.full(length, -1)
    present = np.zeros(length, bool)
    present[usable] = True
    for start, stop in ranges:
        for index in range(start + 1, stop):
            if present[index] and present[index - 1]:
                before[index] = index - 1
    return before


def _measures(names: Sequence[str] | None, trained: Mapping[str, FrameFunction]) -> list[ClassicMeasure]:
    chosen = []
    for name in runnable_measures() if names is None else names:
        if name not in MEASURES:
            raise OptionError(f"unknown quality measure {name!r}; known: {', '.join(MEASURES)}")
        reason = MEASURES[name].why_not()
        if reason is not None:
            raise OptionError(f"{MEASURES[name].label}: {reason}")
        if MEASURES[name].trained and name not in trained:
            raise OptionError(f"{MEASURES[name].label}: has to be trained first")
        chosen.append(replace(MEASURES[name], score=trained[name]) if name in trained else MEASURES[name])
    return chosen


def bounding_box(inside: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of a field of view, bool [H, W].

    Raises:
        ValueError: when it holds no pixel.
    """
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        raise ValueError("the field of view holds no pixel")
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _check(
    frames: np.ndarray, padding: np.ndarray, ranges: Sequence[tuple[int, int]], sector: np.ndarray | None
) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 3 or padding.shape != frames.shape[:1]:
        raise ValueError(
            f"frames are {frames.dtype} {frames.shape}, padding {padding.shape}; uint8 [T, H, W] and bool [T] "
            "are needed"
        )
    if sector is not None and np.shape(sector) != frames.shape[1:]:
        raise ValueError(f"field of view of shape {np.shape(sector)}; {frames.shape[1:]} is needed")
    for start, stop in ranges:
        if not 0 <= start < stop <= len(frames):
            raise ValueError(f"sweep of frames [{start}, {stop}) in a case of {len(frames)} frames")
