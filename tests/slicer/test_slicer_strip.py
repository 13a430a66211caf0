"""The quality strip: columns of frames, quality, labels and markers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from FetalIQALib import display_colours
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.quality_strip import (
    COMMENTS,
    HEIGHT,
    LABELS,
    LOOP,
    MARKS,
    OVERVIEW,
    QUALITY,
    StripView,
    columns_of,
    draw_strip,
    frame_at,
)
from FetalIQALib.server_responses import SuggestedFrame
from FetalIQALib.theme_colours import contrast, luminance, readable
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
    assert lowest[column(15)].sum() > lowest[column(2)].sum() + 120  # brighter where the quality is
    heights = [int((picture[QUALITY, column(frame)].sum(axis=1) > 280).sum()) for frame in (15, 9, 2)]
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


@pytest.mark.parametrize(("count", "width"), [(30, 400), (840, 380)])
def test_quality_0_not_assessed_and_padding_differ_without_colour(count: int, width: int) -> None:
    sweep = a_sweep(count, range(0))
    padding = np.arange(count) >= 2 * count // 3
    quality = np.where(np.arange(count) < count // 3, 0.0, np.nan)
    sweep = replace(sweep, padding=padding, assessment=replace(sweep.assessment, quality=quality, best=None))
    picture = draw_strip(CaseAnnotation(sweep, "anna"), count - 1, width)
    edges = columns_of(count, width)
    thirds = [edges[number * count // 3] + 8 for number in range(3)]
    parts = [picture[QUALITY, start : start + 24] for start in thirds]
    lit = [np.vectorize(lambda *colour: luminance(colour) > 0.1)(*np.moveaxis(part, 2, 0)) for part in parts]
    rows = [part.any(axis=1) for part in lit]
    height = QUALITY.stop - QUALITY.start
    assert (rows[0].sum(), lit[0][-3:].all()) == (3, True)  # a full line at the bottom
    assert 0.05 < lit[1].mean() < 0.2  # dots
    assert rows[1].sum() < height / 2
    assert 0.25 < lit[2].mean() < 0.5  # stripes over the whole height
    assert rows[2].all()


def test_the_strip_of_one_sweep_has_all_frames_below() -> None:
    sweep = a_sweep(60, range(8, 22))
    sweep = replace(sweep, assessment=replace(sweep.assessment, ranges=((0, 30), (30, 60))))
    annotation = CaseAnnotation(sweep, "anna")
    annotation.accept(15)
    annotation.comment_frame(16, "shadow")
    view = StripView()
    assert view.shown(sweep, 15, WIDTH) == (0, 60)  # enough columns
    whole = draw_strip(annotation, 15, WIDTH, view)
    assert not (whole[OVERVIEW] != display_colours.BACKGROUND).any()
    view.zoomed = True
    assert (view.shown(sweep, 15, WIDTH), view.shown(sweep, 40, WIDTH)) == ((0, 30), (30, 60))
    picture = draw_strip(annotation, 15, WIDTH, view, loop=(20, 45))
    assert (picture[LABELS, column(15)] == display_colours.HUMAN).all()
    assert (picture[COMMENTS, column(16)] == display_colours.TEXT).all()
    assert (picture[COMMENTS, column(17)] == display_colours.BACKGROUND).all()
    played = (picture[LOOP.start] == display_colours.PROPOSAL).all(axis=1)
    assert (played[column(19)], played[column(20)], played[column(29)]) == (False, True, True)
    frame = (picture[OVERVIEW.start] == display_colours.TEXT).all(axis=1)
    assert frame_at(int(np.flatnonzero(frame)[0]), 60, WIDTH) == 0
    assert frame_at(int(np.flatnonzero(frame)[-1]), 60, WIDTH) in (29, 30)
    assert view.frame_at(sweep, 40, column(7), 30, WIDTH) == 37
    assert view.frame_at(sweep, 40, column(7), OVERVIEW.start + 3, WIDTH) in (14, 15)
    other = draw_strip(annotation, 40, WIDTH, view)
    assert not (other[LABELS, :, :] == display_colours.HUMAN).all(axis=2).any()
    assert StripView().zooms(replace(sweep), 60)  # more frames than columns


def test_the_measured_ellipse_differs_from_the_mask_in_lightness() -> None:
    assert contrast(display_colours.ELLIPSE, display_colours.HUMAN) >= 3
    assert contrast(display_colours.HUMAN, (0, 0, 0)) >= 3  # the mask against a dark image
    for background in ((255, 255, 255), (239, 239, 239), (50, 50, 50), (0, 0, 0), (128, 128, 128)):
        for colour in (display_colours.HUMAN, display_colours.PROPOSAL, (0, 114, 178)):
            assert contrast(readable(colour, background), background) >= 4.5
    assert readable((0, 0, 0), (255, 255, 255)) == (0, 0, 0)  # unchanged where it is readable


def test_markers_have_contrast_without_colour() -> None:
    """WCAG's contrast of 3 to 1 for graphics, and a monotonic quality scale."""
    for colour in (
        display_colours.PADDING,
        display_colours.UNASSESSED,
        tuple(display_colours.quality_colours(np.zeros(1))[0]),
        display_colours.HUMAN,
        display_colours.PROPOSAL,
        display_colours.INTERPOLATED,
        display_colours.ELLIPSE,
        display_colours.OTHER,
        display_colours.EMPTY,
    ):
        assert contrast(colour, display_colours.BACKGROUND) >= 3
    scale = [luminance(tuple(colour)) for colour in display_colours.quality_colours(np.linspace(0, 1, 21))]
    assert (np.diff(scale) > 0).all()
