"""Burned-in graphics are found by their exact levels and taken out; tissue stays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from stills_files import OUTLINE, scan

from fetaliqa.lab.stills.burned_in_marks import DOT, SHADOW_LEVEL, TEXT_LEVEL, marks_mask, without_marks
from fetaliqa.lab.stills.still_image import read_grey


def on_outline() -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in np.round(OUTLINE.points(60))]


def test_bright_dots_and_crosses_are_filled_from_around_them():
    clean = scan(1)
    marked = clean.copy()
    for x, y in on_outline():
        marked[y, x] = 255
    cv2.line(marked, (40, 30), (48, 30), [255.0], 1)
    cv2.line(marked, (44, 26), (44, 34), [255.0], 1)
    painted = marked != clean
    mask = marks_mask(marked) != 0
    assert mask[painted].all()
    assert (mask & ~painted).sum() < 0.5 * painted.sum()
    filled = without_marks(marked)
    assert np.array_equal(filled[~mask], clean[~mask])
    assert np.abs(filled[painted].astype(int) - clean[painted]).max() < 25


def test_dots_with_a_shadow_are_found_on_bright_and_on_dark_tissue():
    for clean in (scan(2), scan(2) // 3):
        marked = clean.copy()
        painted = np.zeros(clean.shape, bool)
        for x, y in on_outline():
            marked[y : y + 3, x : x + 3] = DOT
            painted[y : y + 3, x : x + 3] = True
        mask = marks_mask(marked) != 0
        assert (mask & painted).sum() == painted.sum()
        assert (mask & ~painted).sum() < 0.5 * painted.sum()
        assert np.abs(without_marks(marked)[painted].astype(int) - clean[painted]).mean() < 8


def test_a_letter_with_its_shadow_goes_also_where_it_hardly_stands_out():
    clean = np.full((60, 60), 165, np.uint8)
    marked = clean.copy()
    marked[21:31, 31] = SHADOW_LEVEL
    marked[20:30, 30] = TEXT_LEVEL
    assert (marks_mask(marked) != 0).sum() == 20
    assert np.abs(without_marks(marked).astype(int) - clean).max() <= 2


def test_an_image_without_graphics_is_returned_as_it_is():
    clean = scan(4)
    assert not marks_mask(clean).any()
    assert without_marks(clean) is clean
    assert not marks_mask(np.zeros((2, 2), np.uint8)).any()


@pytest.mark.slow
def test_no_exact_level_of_graphics_is_left_in_the_real_images(real_stills):
    marked = [still for still in real_stills if still.burned_in]
    assert len(marked) >= 50
    for still in marked:
        native = read_grey(still.file)
        assert marks_mask(native).any(), still.name
        filled = without_marks(native)
        assert marks_mask(filled).sum() <= 4, still.name
        assert (filled != native).mean() < 0.01, still.name


@pytest.mark.parametrize("centre", ["Malawi", "Algeria"])
def test_real_images_of_other_scanners_have_nothing_taken_out(real_stills, centre):
    for still in real_stills:
        if still.centre == centre:
            assert not marks_mask(read_grey(still.file)).any(), still.name
