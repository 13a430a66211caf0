"""The quality strip: an image with one column for each frame of the case, or of one sweep.

From top to bottom: markers of the best frame (diamond) and of suggested frames (triangles); the range of playback;
quality by colour and height, a line where it is estimated, dots where it is not assessed, stripes for padding;
labels: a block for a mask, a line for an empty frame, a hollow block for a pending proposal, a line below for a
comment. If only one sweep is shown, all frames are at the bottom, with a frame around the shown ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from FetalIQALib import display_colours
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.frame_annotations import ANNOTATED, EMPTY, FrameAnnotation
from FetalIQALib.sweep_data import Sweep

MARKS = slice(0, 10)  # rows
LOOP = slice(10, 12)
QUALITY = slice(13, 53)
LABELS = slice(55, 64)
COMMENTS = slice(65, 67)
OVERVIEW = slice(69, 79)
HEIGHT = 80
LINE = 2  # rows
MARGIN = 5  # columns at both ends, for the markers of the outer frames
BORDER = (120, 128, 136)
PATTERN = 6  # pixels between dots or stripes


def columns_of(count: int, width: int) -> np.ndarray:
    """First column of each frame, and the end of the last: int [count + 1]."""
    return np.round(np.linspace(MARGIN, width - MARGIN, count + 1)).astype(int)


def frame_at(x: int, count: int, width: int) -> int:
    """The frame at an image column; outside of the frames the nearest one."""
    edges = columns_of(count, width)
    return int(np.clip(np.searchsorted(edges, x, side="right") - 1, 0, count - 1))


@dataclass
class StripView:
    """What the strip shows of a case.

    Attributes:
        zoomed: whether only the current sweep is shown; None: if the case has more frames than the strip columns.
    """

    zoomed: bool | None = None

    def zooms(self, sweep: Sweep, width: int) -> bool:
        """Whether only the current sweep is shown."""
        automatic = sweep.count > width - 2 * MARGIN
        return len(sweep.ranges) > 1 and (automatic if self.zoomed is None else self.zoomed)

    def shown(self, sweep: Sweep, position: int, width: int) -> tuple[int, int]:
        """(first, last + 1) frame that is shown."""
        return sweep.ranges[sweep.sweep_of(position)] if self.zooms(sweep, width) else (0, sweep.count)

    def frame_at(self, sweep: Sweep, position: int, x: int, y: int, width: int) -> int:
        """The frame at a pixel of the strip."""
        if y >= OVERVIEW.start - 1 and self.zooms(sweep, width):
            return frame_at(x, sweep.count, width)
        first, stop = self.shown(sweep, position, width)
        return first + frame_at(x, stop - first, width)


def draw_strip(
    annotation: CaseAnnotation,
    position: int,
    width: int,
    view: StripView | None = None,
    loop: tuple[int, int] | None = None,
) -> np.ndarray:
    """Draw the strip: uint8 [HEIGHT, width, 3].

    Args:
        annotation: labels of the case.
        position: current frame.
        width: columns of the image, at least 50.
        view: what is shown; by default all frames.
        loop: first and last frame of playback, if marked.
    """
    sweep = annotation.sweep
    view = StripView(zoomed=False) if view is None else view
    first, stop = view.shown(sweep, position, width)
    picture = np.empty((HEIGHT, width, 3), np.uint8)
    picture[:] = display_colours.BACKGROUND
    edges = columns_of(stop - first, width)
    starts, stops = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
    _draw_quality(picture, sweep, slice(first, stop), edges)
    for start, _stop in sweep.ranges[1:]:
        if first < start < stop:
            picture[QUALITY.start - 2 : LABELS.stop, max(edges[start - first] - 1, 0)] = BORDER
    middles = (starts + stops) // 2
    for frame in sweep.suggestions():
        if first <= frame < stop:
            _draw_mark(picture, middles[frame - first], display_colours.TEXT, diamond=False)
    best = None if sweep.assessment is None else sweep.assessment.best
    if best is not None and first <= best < stop:
        _draw_mark(picture, middles[best - first], display_colours.ELLIPSE, diamond=True)
    if loop is not None and loop[0] < stop and loop[1] >= first:
        begin, end = max(loop[0], first) - first, min(loop[1], stop - 1) - first
        picture[LOOP, starts[begin] : stops[end]] = display_colours.PROPOSAL
    for number, label in annotation.frames.items():
        if first <= number < stop:
            start = starts[number - first]
            _draw_label(picture, label, start, max(stops[number - first], start + 3))
    _draw_position(picture, starts[position - first], stops[position - first])
    if view.zooms(sweep, width):
        _draw_overview(picture, sweep, (first, stop))
    return picture


def _quality(sweep: Sweep) -> np.ndarray:
    """Quality of each frame, float [T]; nan where it is not assessed."""
    return np.full(sweep.count, np.nan) if sweep.assessment is None else sweep.assessment.quality


def _draw_quality(picture: np.ndarray, sweep: Sweep, shown: slice, edges: np.ndarray) -> None:
    x = np.arange(edges[0], edges[-1])
    frame = shown.start + np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    quality, padding = _quality(sweep)[frame], sweep.padding[frame]
    estimated = np.zeros(len(x), bool) if sweep.assessment is None else sweep.assessment.estimated[frame]
    height = QUALITY.stop - QUALITY.start
    rows = np.arange(height)[:, None]
    top = height - np.maximum(3, np.round(np.nan_to_num(quality) * height)).astype(int)
    bar = (rows >= top) & (~estimated | (rows < top + LINE))
    colours = display_colours.quality_colours(quality)
    block = np.where(bar[..., None], colours, colours // 5 + 10)  # above the bar in the same hue, dark
    block[:, padding | np.isnan(quality)] = display_colours.BACKGROUND
    block[(rows % PATTERN < 2) & (x % PATTERN < 2) & np.isnan(quality) & ~padding] = display_colours.UNASSESSED
    block[((rows + x) % PATTERN < 2) & padding] = display_colours.PADDING
    picture[QUALITY, edges[0] : edges[-1]] = block


def _draw_overview(picture: np.ndarray, sweep: Sweep, shown: tuple[int, int]) -> None:
    """Quality of all frames in one row of colours, framed where the strip shows them."""
    width = picture.shape[1]
    edges = columns_of(sweep.count, width)
    colours = display_colours.quality_colours(_quality(sweep))
    colours[sweep.padding] = display_colours.BACKGROUND
    middle = slice(OVERVIEW.start + 2, OVERVIEW.stop - 2)
    frames = np.clip(
        np.searchsorted(edges, np.arange(MARGIN, width - MARGIN), side="right") - 1, 0, sweep.count - 1
    )
    picture[middle, MARGIN : width - MARGIN] = colours[frames]
    left, right = max(edges[shown[0]] - 2, 0), min(edges[shown[1]] + 2, width)
    for row in (OVERVIEW.start, OVERVIEW.stop - 1):
        picture[row, left:right] = display_colours.TEXT
    for column in (left, right - 1):
        picture[OVERVIEW, column] = display_colours.TEXT


def _draw_mark(picture: np.ndarray, x: int, colour: tuple[int, int, int], diamond: bool) -> None:
    size = MARKS.stop - MARKS.start - 1  # odd: a diamond has one middle row
    for row in range(size):
        half = min(row, size - 1 - row) if diamond else (size - 1 - row) // 2 if row >= 3 else -1
        if half >= 0:
            picture[MARKS.start + row, max(x - half, 0) : x + half + 1] = colour


def _draw_label(picture: np.ndarray, frame: FrameAnnotation, start: int, stop: int) -> None:
    if frame.comment:
        picture[COMMENTS, start:stop] = display_colours.TEXT
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
    rows = slice(QUALITY.start - 1, LABELS.stop + 1)
    picture[rows, max(start - 2, 0) : max(start, 1)] = display_colours.TEXT
    picture[rows, stop : stop + 2] = display_colours.TEXT
