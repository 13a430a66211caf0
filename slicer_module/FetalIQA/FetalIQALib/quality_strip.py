"""The quality strip: an image with one column for each frame.

From top to bottom: markers of the best frame (diamond) and of suggested frames (triangles); quality by colour and
height, padding in grey, a line where it is estimated; labels: a block for a mask, a line for an empty frame, a
hollow block for a pending proposal.
"""

from __future__ import annotations

import numpy as np

from FetalIQALib import display_colours
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.frame_annotations import ANNOTATED, EMPTY, FrameAnnotation
from FetalIQALib.sweep_data import Sweep

MARKS = slice(0, 11)  # rows
QUALITY = slice(13, 53)
LABELS = slice(55, 65)
HEIGHT = 67
LINE = 2  # rows
MARGIN = 5  # columns at both ends, for the markers of the outer frames
BORDER = (120, 128, 136)


def columns_of(count: int, width: int) -> np.ndarray:
    """First column of each frame, and the end of the last: int [count + 1]."""
    return np.round(np.linspace(MARGIN, width - MARGIN, count + 1)).astype(int)


def frame_at(x: int, count: int, width: int) -> int:
    """The frame at an image column; outside of the frames the nearest one."""
    edges = columns_of(count, width)
    return int(np.clip(np.searchsorted(edges, x, side="right") - 1, 0, count - 1))


def draw_strip(annotation: CaseAnnotation, position: int, width: int) -> np.ndarray:
    """Draw the strip: uint8 [HEIGHT, width, 3].

    Args:
        annotation: labels of the case.
        position: current frame.
        width: columns of the image, at least 50.
    """
    sweep = annotation.sweep
    picture = np.empty((HEIGHT, width, 3), np.uint8)
    picture[:] = display_colours.BACKGROUND
    edges = columns_of(sweep.count, width)
    starts, stops = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
    _draw_quality(picture, sweep, starts, stops)
    for start, _stop in sweep.ranges[1:]:
        picture[QUALITY.start - 2 : LABELS.stop, max(edges[start] - 1, 0)] = BORDER
    middles = (starts + stops) // 2
    for frame in sweep.suggestions():
        _draw_mark(picture, middles[frame], display_colours.TEXT, diamond=False)
    if sweep.assessment is not None and sweep.assessment.best is not None:
        _draw_mark(picture, middles[sweep.assessment.best], display_colours.ELLIPSE, diamond=True)
    for number, decision in annotation.frames.items():
        _draw_label(picture, decision, starts[number], max(stops[number], starts[number] + 3))
    _draw_position(picture, starts[position], stops[position])
    return picture


def _draw_quality(picture: np.ndarray, sweep: Sweep, starts: np.ndarray, stops: np.ndarray) -> None:
    quality = np.zeros(sweep.count) if sweep.assessment is None else sweep.assessment.quality.copy()
    quality[sweep.padding] = np.nan
    height = QUALITY.stop - QUALITY.start
    reach = np.maximum(3, np.round(np.nan_to_num(quality) * height)).astype(int)
    colours = display_colours.quality_colours(quality)
    estimated = np.zeros(sweep.count, bool) if sweep.assessment is None else sweep.assessment.estimated
    for start, stop, rows, colour, guess in zip(starts, stops, reach, colours, estimated):
        # the rest of the column in the same hue, dark: distinguishes low quality from not assessed
        picture[QUALITY, start:stop] = colour // 4 + 12
        top = QUALITY.stop - rows
        picture[top : top + LINE if guess else QUALITY.stop, start:stop] = colour


def _draw_mark(picture: np.ndarray, x: int, colour: tuple[int, int, int], diamond: bool) -> None:
    size = MARKS.stop - MARKS.start
    for row in range(size):
        half = min(row, size - 1 - row) if diamond else (size - 1 - row) // 2 if row >= 3 else -1
        if half >= 0:
            picture[MARKS.start + row, max(x - half, 0) : x + half + 1] = colour


def _draw_label(picture: np.ndarray, frame: FrameAnnotation, start: int, stop: int) -> None:
    if frame.state == ANNOTATED:
        picture[LABELS, start:stop] = display_colours.HUMAN
        if frame.plane is not None:  # a notch at the top for optimal, at the bottom for suboptimal
            rows = slice(LABELS.start, LABELS.start + 3) if frame.plane == "optimal" else None
            picture[rows or slice(LABELS.stop - 3, LABELS.stop), start:stop] = display_colours.TEXT
    elif frame.state == EMPTY:
        picture[LABELS.start + 4 : LABELS.stop - 3, start:stop] = display_colours.EMPTY
    elif frame.pending is not None:
        picture[LABELS.start + 1 : LABELS.stop - 1, start:stop] = display_colours.INTERPOLATED
        picture[LABELS.start + 3 : LABELS.stop - 3, start:stop] = display_colours.BACKGROUND


def _draw_position(picture: np.ndarray, start: int, stop: int) -> None:
    rows = slice(QUALITY.start - 2, LABELS.stop + 2)
    picture[rows, max(start - 2, 0) : max(start, 1)] = display_colours.TEXT
    picture[rows, stop : stop + 2] = display_colours.TEXT
