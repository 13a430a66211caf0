"""The quality strip: columns of frames, quality, labels and markers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from FetalIQALib import display_colours
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.quality_strip import HEIGHT, LABELS, MARKS, QUALITY, columns_of, draw_strip, frame_at
from FetalIQALib.server_responses import SuggestedFrame
from workspaces import a_sweep, ellipse_mask

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
    annotation = CaseAnnotation(a_sweep(count, range(0)), "anna")
    assert draw_strip(annotation, count - 1, width).shape == (HEIGHT, width, 3)


def test_quality_padding_markers_and_sweeps_are_drawn() -> None:
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
    picture = draw_strip(CaseAnnotation(sweep, "anna"), 0, WIDTH)
    assert sweep.reason_for(9) == "far from labels"
    lowest = picture[QUALITY.stop - 1]
    assert tuple(lowest[column(28)]) == display_colours.PADDING
    assert lowest[column(15)].sum() > lowest[column(2)].sum() + 200  # brighter where the quality is
    heights = [int((picture[QUALITY, column(frame)].sum(axis=1) > 300).sum()) for frame in (15, 9, 2)]
    assert heights[0] > heights[1] > heights[2]
    assert (picture[MARKS, column(15)] == display_colours.ELLIPSE).all(axis=1).any()  # the best one
    assert (picture[MARKS, column(9)] == display_colours.TEXT).all(axis=1).any()
    assert not (picture[MARKS, column(20)] != display_colours.BACKGROUND).any()
    border = picture[QUALITY.start, columns_of(30, WIDTH)[12] - 1]
    assert tuple(border) not in (display_colours.BACKGROUND, tuple(picture[QUALITY.start, column(12)]))


def test_labels_differ_in_shape_and_colour() -> None:
    annotation = CaseAnnotation(a_sweep(), "anna")
    annotation.accept(15)
    annotation.mark_empty(3)
    annotation.correct(9, ellipse_mask())
    annotation.correct(13, ellipse_mask())
    annotation.interpolate(11)
    picture = draw_strip(annotation, 20, WIDTH)

    def rows(frame: int, colour: tuple[int, int, int]) -> int:
        return int((picture[LABELS, column(frame)] == colour).all(axis=1).sum())

    full = LABELS.stop - LABELS.start
    assert rows(15, display_colours.HUMAN) == full
    assert 0 < rows(3, display_colours.EMPTY) < full / 2
    assert 0 < rows(11, display_colours.INTERPOLATED) < full
    assert rows(5, display_colours.BACKGROUND) == full


def test_the_current_frame_is_framed() -> None:
    annotation = CaseAnnotation(a_sweep(), "anna")
    one, other = draw_strip(annotation, 4, WIDTH), draw_strip(annotation, 25, WIDTH)
    moved = np.flatnonzero((one != other).any(axis=(0, 2)))
    assert frame_at(int(moved[0]), 30, WIDTH) in (3, 4)
    assert frame_at(int(moved[-1]), 30, WIDTH) in (25, 26)


def luminance(colour: tuple[int, int, int]) -> float:
    parts = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in display_colours.unit_rgb(colour)
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_markers_have_contrast_without_colour() -> None:
    """WCAG's contrast of 3 to 1 for graphics, and a monotonic quality scale."""
    for colour in (
        display_colours.HUMAN,
        display_colours.PROPOSAL,
        display_colours.INTERPOLATED,
        display_colours.ELLIPSE,
        display_colours.OTHER,
        display_colours.EMPTY,
    ):
        assert (luminance(colour) + 0.05) / (luminance(display_colours.BACKGROUND) + 0.05) > 3
    scale = [luminance(tuple(colour)) for colour in display_colours.quality_colours(np.linspace(0, 1, 21))]
    assert (np.diff(scale) > 0).all()
