"""The quality strip as numbers: every frame has its column, and what is drawn can be read back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from FetalIQALib import palette
from FetalIQALib.casework import CaseWork
from FetalIQALib.replies import SuggestedFrame
from FetalIQALib.strip import DECISIONS, HEIGHT, MARKS, QUALITY, columns_of, draw_strip, frame_at
from workplaces import a_sweep, ellipse_mask

WIDTH = 400


def column(frame: int, count: int = 30, width: int = WIDTH) -> int:
    edges = columns_of(count, width)
    return int((edges[frame] + edges[frame + 1]) // 2)


@pytest.mark.parametrize(("count", "width"), [(30, 400), (140, 398), (840, 380), (1, 60), (840, 1200)])
def test_every_frame_can_be_clicked_and_is_drawn(count: int, width: int) -> None:
    assert [frame_at(x, count, width) for x in (-50, 0, width - 1, width + 50)] == [0, 0, count - 1, count - 1]
    edges = columns_of(count, width)
    for frame in range(count):
        if edges[frame + 1] > edges[frame]:  # more frames than columns share them
            assert frame_at(int(edges[frame]), count, width) == frame
    work = CaseWork(a_sweep(count, range(0)), "anna")
    assert draw_strip(work, count - 1, width).shape == (HEIGHT, width, 3)


def test_quality_padding_marks_and_sweeps_are_where_they_belong() -> None:
    sweep = a_sweep()
    frames = sweep.stack.frames.copy()
    padding = np.zeros(30, bool)
    padding[28:] = True
    sweep = replace(
        sweep,
        padding=padding,
        stack=replace(sweep.stack, frames=frames),
        assessment=replace(sweep.assessment, ranges=((0, 12), (12, 30))),
        suggested=(SuggestedFrame(9, "far from labels"), SuggestedFrame(99)),
    )
    picture = draw_strip(CaseWork(sweep, "anna"), 0, WIDTH)
    assert sweep.reason_for(9) == "far from labels"
    lowest = picture[QUALITY.stop - 1]
    assert tuple(lowest[column(28)]) == palette.PADDING
    assert lowest[column(15)].sum() > lowest[column(2)].sum() + 200  # brighter where the quality is
    heights = [int((picture[QUALITY, column(frame)].sum(axis=1) > 300).sum()) for frame in (15, 9, 2)]
    assert heights[0] > heights[1] > heights[2]
    assert (picture[MARKS, column(15)] == palette.ELLIPSE).all(axis=1).any()  # the best one
    assert (picture[MARKS, column(9)] == palette.TEXT).all(axis=1).any()
    assert not (picture[MARKS, column(20)] != palette.BACKGROUND).any()
    border = picture[QUALITY.start, columns_of(30, WIDTH)[12] - 1]
    assert tuple(border) not in (palette.BACKGROUND, tuple(picture[QUALITY.start, column(12)]))


def test_decisions_are_told_apart_by_shape_and_colour() -> None:
    work = CaseWork(a_sweep(), "anna")
    work.accept(15)
    work.mark_empty(3)
    work.correct(9, ellipse_mask())
    work.correct(13, ellipse_mask())
    work.interpolate(11)
    picture = draw_strip(work, 20, WIDTH)

    def rows(frame: int, colour: tuple[int, int, int]) -> int:
        return int((picture[DECISIONS, column(frame)] == colour).all(axis=1).sum())

    full = DECISIONS.stop - DECISIONS.start
    assert rows(15, palette.HUMAN) == full
    assert 0 < rows(3, palette.EMPTY) < full / 2
    assert 0 < rows(11, palette.BETWEEN) < full
    assert rows(5, palette.BACKGROUND) == full


def test_the_current_frame_is_framed() -> None:
    work = CaseWork(a_sweep(), "anna")
    one, other = draw_strip(work, 4, WIDTH), draw_strip(work, 25, WIDTH)
    moved = np.flatnonzero((one != other).any(axis=(0, 2)))
    assert frame_at(int(moved[0]), 30, WIDTH) in (3, 4)
    assert frame_at(int(moved[-1]), 30, WIDTH) in (25, 26)


def luminance(colour: tuple[int, int, int]) -> float:
    parts = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in palette.unit(colour)
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_marks_stand_out_from_the_dark_without_colour() -> None:
    """WCAG's 3 to 1 for graphics, and a quality scale that only ever gets lighter."""
    for colour in (
        palette.HUMAN,
        palette.PROPOSAL,
        palette.BETWEEN,
        palette.ELLIPSE,
        palette.OTHER,
        palette.EMPTY,
    ):
        assert (luminance(colour) + 0.05) / (luminance(palette.BACKGROUND) + 0.05) > 3
    scale = [luminance(tuple(colour)) for colour in palette.quality_colours(np.linspace(0, 1, 21))]
    assert (np.diff(scale) > 0).all()
