"""The quality strip: one column for each frame, as a picture; whoever shows it need not know what it means.

From top to bottom: the best frame (diamond) and those to look at (triangles); quality, by colour and height, with
padding in grey, and only a line where it is a guess; and what a person decided: a block for a mask, a line for an
empty frame, a hollow block for an interpolated mask that waits to be accepted.
"""

from __future__ import annotations

import numpy as np

from FetalIQALib import palette
from FetalIQALib.casework import CaseWork
from FetalIQALib.decisions import ANNOTATED, EMPTY, Frame
from FetalIQALib.sweep import Sweep

MARKS = slice(0, 11)  # rows
QUALITY = slice(13, 53)
DECISIONS = slice(55, 65)
HEIGHT = 67
LINE = 2  # rows
MARGIN = 5  # columns at both ends, so that marks of the outer frames are whole
BORDER = (120, 128, 136)


def columns_of(count: int, width: int) -> np.ndarray:
    """First column of each frame, and one past the last: int [count + 1]."""
    return np.round(np.linspace(MARGIN, width - MARGIN, count + 1)).astype(int)


def frame_at(x: int, count: int, width: int) -> int:
    """The frame at a column of the picture; the nearest one outside of the frames."""
    edges = columns_of(count, width)
    return int(np.clip(np.searchsorted(edges, x, side="right") - 1, 0, count - 1))


def draw_strip(work: CaseWork, position: int, width: int) -> np.ndarray:
    """The picture: uint8 [HEIGHT, width, 3].

    Args:
        work: the case with its decisions.
        position: the current frame.
        width: columns of the picture, at least 50.
    """
    sweep = work.sweep
    picture = np.empty((HEIGHT, width, 3), np.uint8)
    picture[:] = palette.BACKGROUND
    edges = columns_of(sweep.count, width)
    starts, stops = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
    _draw_quality(picture, sweep, starts, stops)
    for start, _stop in sweep.ranges[1:]:
        picture[QUALITY.start - 2 : DECISIONS.stop, max(edges[start] - 1, 0)] = BORDER
    middles = (starts + stops) // 2
    for frame in sweep.suggestions():
        _draw_mark(picture, middles[frame], palette.TEXT, diamond=False)
    if sweep.assessment is not None and sweep.assessment.best is not None:
        _draw_mark(picture, middles[sweep.assessment.best], palette.ELLIPSE, diamond=True)
    for number, decision in work.frames.items():
        _draw_decision(picture, decision, starts[number], max(stops[number], starts[number] + 3))
    _draw_position(picture, starts[position], stops[position])
    return picture


def _draw_quality(picture: np.ndarray, sweep: Sweep, starts: np.ndarray, stops: np.ndarray) -> None:
    quality = np.zeros(sweep.count) if sweep.assessment is None else sweep.assessment.quality.copy()
    quality[sweep.padding] = np.nan
    height = QUALITY.stop - QUALITY.start
    reach = np.maximum(3, np.round(np.nan_to_num(quality) * height)).astype(int)
    colours = palette.quality_colours(quality)
    guessed = np.zeros(sweep.count, bool) if sweep.assessment is None else sweep.assessment.guessed
    for start, stop, rows, colour, guess in zip(starts, stops, reach, colours, guessed):
        # the rest of the column in the same hue, dark: dark frames are told from those not assessed
        picture[QUALITY, start:stop] = colour // 4 + 12
        top = QUALITY.stop - rows
        picture[top : top + LINE if guess else QUALITY.stop, start:stop] = colour


def _draw_mark(picture: np.ndarray, x: int, colour: tuple[int, int, int], diamond: bool) -> None:
    size = MARKS.stop - MARKS.start
    for row in range(size):
        half = min(row, size - 1 - row) if diamond else (size - 1 - row) // 2 if row >= 3 else -1
        if half >= 0:
            picture[MARKS.start + row, max(x - half, 0) : x + half + 1] = colour


def _draw_decision(picture: np.ndarray, frame: Frame, start: int, stop: int) -> None:
    if frame.state == ANNOTATED:
        picture[DECISIONS, start:stop] = palette.HUMAN
        if frame.plane is not None:  # a notch: full at the top for optimal, at the bottom for suboptimal
            rows = slice(DECISIONS.start, DECISIONS.start + 3) if frame.plane == "optimal" else None
            picture[rows or slice(DECISIONS.stop - 3, DECISIONS.stop), start:stop] = palette.TEXT
    elif frame.state == EMPTY:
        picture[DECISIONS.start + 4 : DECISIONS.stop - 3, start:stop] = palette.EMPTY
    elif frame.between is not None:
        picture[DECISIONS.start + 1 : DECISIONS.stop - 1, start:stop] = palette.BETWEEN
        picture[DECISIONS.start + 3 : DECISIONS.stop - 3, start:stop] = palette.BACKGROUND


def _draw_position(picture: np.ndarray, start: int, stop: int) -> None:
    rows = slice(QUALITY.start - 2, DECISIONS.stop + 2)
    picture[rows, max(start - 2, 0) : max(start, 1)] = palette.TEXT
    picture[rows, stop : stop + 2] = palette.TEXT
