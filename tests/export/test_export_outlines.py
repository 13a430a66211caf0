"""Polygons along pixel edges give the very same mask back, by two readers that are not ours."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from fetaliqa.export.pixel_outlines import pixel_polygons


def by_coco(polygons, shape) -> np.ndarray:
    runs = coco_mask.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *shape)
    return coco_mask.decode(coco_mask.merge(runs))


def crossings(polygons, shape) -> np.ndarray:
    """Inside by the number of edges to the left of a pixel's centre."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    for polygon in polygons:
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0)):
            if x0 == x1:
                inside ^= (columns > x0) & (rows > min(y0, y1)) & (rows < max(y0, y1))
    return inside


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7))
def test_any_mask_without_holes_comes_back(seed, size):
    rng = np.random.default_rng(seed)
    mask = np.zeros((24, 30), np.uint8)
    for _ in range(size):
        centre, axes = (
            (int(rng.integers(30)), int(rng.integers(24))),
            (int(rng.integers(1, 9)), int(rng.integers(1, 7))),
        )
        cv2.ellipse(mask, centre, axes, int(rng.integers(180)), 0, 360, [1.0], cv2.FILLED)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mask, contours, -1, [1.0], cv2.FILLED)
    polygons, complete = pixel_polygons(mask)
    assert np.array_equal(crossings(polygons, mask.shape), mask > 0)
    if complete:
        assert np.array_equal(by_coco(polygons, mask.shape), mask)


def test_parts_that_touch_at_a_corner_are_two():
    mask = np.array([[1, 0], [0, 1]])
    polygons, complete = pixel_polygons(mask)
    assert complete
    assert [polygon.tolist() for polygon in polygons] == [
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [[1, 1], [2, 1], [2, 2], [1, 2]],
    ]


def test_a_hole_is_told():
    mask = np.ones((3, 3))
    mask[1, 1] = 0
    polygons, complete = pixel_polygons(mask)
    assert not complete
    assert len(polygons) == 1


@pytest.mark.parametrize("shape", [(1, 1), (5, 7)])
def test_an_empty_mask_has_no_outline_and_a_full_one_four_corners(shape):
    assert pixel_polygons(np.zeros(shape)) == ([], True)
    (corners,), complete = pixel_polygons(np.ones(shape))
    assert complete
    assert corners.tolist() == [[0, 0], [shape[1], 0], [shape[1], shape[0]], [0, shape[0]]]
