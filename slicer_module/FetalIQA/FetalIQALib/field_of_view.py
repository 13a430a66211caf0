"""Field of view of a sweep; outlines are cut off at its border."""

from __future__ import annotations

import numpy as np

from FetalIQALib.ellipse_measurement import components

DARK_LEVEL = 2  # grey levels up to this are background: 0 outside of the sector, compression adds 1-2
MAX_FRAMES = 32  # frames; more do not change the hull
STEP = 4  # pixels; the hull is computed on blocks of this size


def field_of_view(frames: np.ndarray) -> np.ndarray:
    """Convex hull of the largest image region that is ever above background: bool [H, W]; all True without one.

    The concave region at the transducer face is included.

    Args:
        frames: uint8 [T, H, W].
    """
    selected = np.unique(np.linspace(0, len(frames) - 1, MAX_FRAMES).astype(int))
    visible = frames[selected].max(axis=0) > DARK_LEVEL
    coarse = visible[: visible.shape[0] // STEP * STEP, : visible.shape[1] // STEP * STEP]
    coarse = coarse.reshape(coarse.shape[0] // STEP, STEP, -1, STEP).mean(axis=(1, 3)) > 0.25
    labels, sizes = components(coarse, diagonal=True)
    if not len(sizes):
        return np.ones(visible.shape, bool)
    part = np.kron(labels == 1 + int(np.argmax(sizes)), np.ones((STEP, STEP), bool))
    rows, columns = np.nonzero(part & visible[: part.shape[0], : part.shape[1]])
    corners = _hull(np.stack([columns, rows], axis=1))
    return _inside(corners, visible.shape)


def erode_field(field: np.ndarray, border: int) -> np.ndarray:
    """Pixels that are more than ``border`` pixels inside of the field: bool [H, W]."""
    reach = border + 1
    inside = np.pad(field, reach)
    for axis in (0, 1):
        total = np.cumsum(
            np.pad(inside, [(1, 0) if a == axis else (0, 0) for a in (0, 1)]), axis=axis, dtype=np.int32
        )
        side = 2 * reach + 1
        ahead = np.take(total, range(side, total.shape[axis]), axis=axis)
        behind = np.take(total, range(total.shape[axis] - side), axis=axis)
        inside = ahead - behind == side
    return inside


def _hull(points: np.ndarray) -> np.ndarray:
    """Vertices of the convex hull of integer points [N, 2], in order (Andrew's monotone chain)."""
    # only the first and last point of a row can be a vertex
    order = np.lexsort((points[:, 0], points[:, 1]))
    ordered = points[order]
    edge = np.flatnonzero(np.diff(ordered[:, 1]))
    outer = ordered[np.unique(np.concatenate([[0], edge, edge + 1, [len(ordered) - 1]]))]
    outer = outer[np.lexsort((outer[:, 1], outer[:, 0]))].tolist()

    def half(sequence: list) -> list:
        chain: list = []
        for x, y in sequence:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], (x, y)) <= 0:
                chain.pop()
            chain.append((x, y))
        return chain[:-1]

    return np.array((half(outer) + half(outer[::-1])) or outer)


def _turn(first: tuple, second: tuple, third: tuple) -> float:
    return (second[0] - first[0]) * (third[1] - first[1]) - (second[1] - first[1]) * (third[0] - first[0])


def _inside(corners: np.ndarray, shape: tuple) -> np.ndarray:
    """Pixels within a convex polygon of ordered vertices, border included."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    inside = np.ones(shape, bool)
    for (x, y), (next_x, next_y) in zip(corners, np.roll(corners, -1, axis=0)):
        inside &= (next_x - x) * (rows - y) - (next_y - y) * (columns - x) >= 0
    return inside
