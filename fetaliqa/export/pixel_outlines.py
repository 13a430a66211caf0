"""Polygons along pixel edges, from which the mask can be restored exactly.

OpenCV's contours run through pixel centres and lose half a pixel on each side.
"""

from __future__ import annotations

import numpy as np

# Steps along the pixel edges with the inside on the right: east, south, west, north, as (row, column)
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))


def pixel_polygons(mask: np.ndarray) -> tuple[list[np.ndarray], bool]:
    """Outer outlines of a mask through the corners of its pixels.

    Corner (0, 0) is the image's own corner, so that pixel (row, column) covers ``column`` to ``column + 1``. Parts
    that touch at a corner only are separate.

    Args:
        mask: [H, W], non-zero inside.

    Returns:
        Corners (x, y) of each part, int [N, 2], the first row and column first; and whether they are the whole
        mask, which is not so for a part with holes.
    """
    inside = np.pad(mask != 0, 1)
    edges = _edges(inside)
    polygons, complete = [], True
    for start in sorted(edges):
        while start in edges:
            corners = _loop(edges, start)
            x, y = corners[:, 0].astype(float), corners[:, 1].astype(float)
            if (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0:  # clockwise as seen, y pointing down
                polygons.append(corners)
            else:
                complete = False  # the outline of a hole
    return polygons, complete


def _edges(inside: np.ndarray) -> dict[tuple[int, int], set[int]]:
    """Directions in which edges leave each corner (row, column)."""
    centre = inside[1:-1, 1:-1]
    neighbours = (inside[:-2, 1:-1], inside[1:-1, 2:], inside[2:, 1:-1], inside[1:-1, :-2])
    first_corner = ((0, 0), (0, 1), (1, 1), (1, 0))  # of a pixel's top, right, bottom and left edge
    edges: dict[tuple[int, int], set[int]] = {}
    for direction, (beyond, (row, column)) in enumerate(zip(neighbours, first_corner)):
        for y, x in np.argwhere(centre & ~beyond):
            edges.setdefault((int(y) + row, int(x) + column), set()).add(direction)
    return edges


def _loop(edges: dict[tuple[int, int], set[int]], start: tuple[int, int]) -> np.ndarray:
    """Follow edges from a corner back to it and remove them; returns the corners where the direction changes."""
    corners: list[tuple[int, int]] = []
    place, heading = start, -1
    while True:
        leaving = edges[place]
        # where two parts touch at a corner, the right turn stays with the same part
        turn = next(d for d in ((heading + 1) % 4, heading, (heading - 1) % 4, (heading + 2) % 4) if d in leaving)
        if heading < 0:
            turn = min(leaving)
        leaving.discard(turn)
        if not leaving:
            del edges[place]
        if turn != heading:
            corners.append((place[1], place[0]))
        heading = turn
        place = (place[0] + _STEPS[turn][0], place[1] + _STEPS[turn][1])
        if place == start:
            return np.array(corners, dtype=np.int64)
