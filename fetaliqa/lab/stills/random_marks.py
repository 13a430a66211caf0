"""Random burned-in marks for augmentation: calipers, dotted lines and ellipses, text, grey bars, menus.

Their position is independent of the outline, so that a model cannot use them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

SCALE = 2  # drawn at twice the grid and averaged down: burned-in lines are thinner than a grid pixel
DOT_GAP_PX = (3.0, 9.0)  # of the drawing; Uganda's dots are 6 native pixels apart, Ghana's up to 15
FONT = cv2.FONT_HERSHEY_PLAIN
LETTERS = np.array(list("ABCDEFGHIKLMNOPRSTUVWX0123456789.:=-/ "))
MAX_KINDS = 3
# Of marks that are black on bright tissue and grey on dark, as Uganda's.
INVERTING_SHARE = 0.3


def add_marks(image: np.ndarray, rng: np.random.Generator) -> None:
    """Draw one to three kinds of marks into a square image, float32 [S, S] of 0 to 1, which is changed."""
    size = image.shape[0]
    for kind in rng.choice(len(KINDS), int(rng.integers(1, MAX_KINDS + 1)), replace=False):
        layer = np.zeros((size * SCALE, size * SCALE), np.uint8)
        KINDS[kind](layer, rng)
        small = cv2.resize(layer, (size, size), interpolation=cv2.INTER_AREA)
        cover = small.astype(np.float32) * ((1 / 255) * rng.uniform(0.4, 1.0))
        level = rng.uniform(0.45, 1.0)
        if rng.random() < INVERTING_SHARE:
            image += cover * (np.where(cv2.blur(image, (9, 9)) < 0.2, level * 0.6, 0.0) - image)
        else:
            image += cover * (level - image)


def _point(layer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.08, 0.92, 2) * layer.shape[0]


def _dots(layer: np.ndarray, points: np.ndarray, radius: int) -> None:
    for x, y in np.round(points).astype(int):
        cv2.circle(layer, (int(x), int(y)), radius, [255.0], cv2.FILLED)


def _cross(layer: np.ndarray, at: np.ndarray, arm: int, diagonal: bool) -> None:
    for turn in (0.25, 0.75) if diagonal else (0.0, 0.5):
        step = arm * np.array([math.cos(turn * math.pi), math.sin(turn * math.pi)])
        ends = [tuple(int(value) for value in np.round(at + sign * step)) for sign in (-1, 1)]
        cv2.line(layer, ends[0], ends[1], [255.0], 1)


def _calipers(layer: np.ndarray, rng: np.random.Generator) -> None:
    """One or two pairs of crosses, with or without the dotted line between them."""
    for _ in range(int(rng.integers(1, 3))):
        ends = _point(layer, rng), _point(layer, rng)
        arm, diagonal = int(rng.integers(4, 9)), bool(rng.random() < 0.4)
        for end in ends:
            _cross(layer, end, arm, diagonal)
        if rng.random() < 0.6:
            _dotted_line(layer, ends, rng)


def _dotted_line(layer: np.ndarray, ends: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    count = max(2, int(np.linalg.norm(ends[1] - ends[0]) / rng.uniform(*DOT_GAP_PX)))
    _dots(layer, np.linspace(ends[0], ends[1], count), int(rng.integers(0, 2)))


def _dotted_ellipse(layer: np.ndarray, rng: np.random.Generator) -> None:
    """A dotted ellipse anywhere, also across the picture's border, often with calipers on its axes."""
    size = layer.shape[0]
    axes = rng.uniform(0.08, 0.4) * size * np.array([1, rng.uniform(0.65, 1.0)])
    centre, angle = rng.uniform(0.1, 0.9, 2) * size, rng.uniform(0, math.pi)
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]])
    turns = np.linspace(0, 2 * math.pi, max(16, int(6.3 * axes.mean() / rng.uniform(*DOT_GAP_PX))))
    points = centre + np.outer(np.cos(turns) * axes[0], along) + np.outer(np.sin(turns) * axes[1], across)
    _dots(layer, points, int(rng.integers(0, 2)))
    if rng.random() < 0.7:
        ends = [(centre - half, centre + half) for half in (axes[0] * along, axes[1] * across)]
        for pair in ends:
            for end in pair:
                _cross(layer, end, 5, False)
        if rng.random() < 0.5:
            for pair in ends:
                _dotted_line(layer, pair, rng)


def _text(layer: np.ndarray, rng: np.random.Generator) -> None:
    """A few lines of text, mostly at a border."""
    size = layer.shape[0]
    x, y = int(rng.uniform(0, 0.75) * size), int(rng.choice([0.03, 0.5, 0.8]) * size + rng.uniform(0, 0.12) * size)
    scale = rng.uniform(0.6, 1.4)
    for line in range(int(rng.integers(1, 7))):
        words = "".join(rng.choice(LETTERS, int(rng.integers(2, 22))))
        cv2.putText(layer, words, (x, y + int((line + 1) * 14 * scale)), FONT, scale, [255.0], 1)


def _grey_bar(layer: np.ndarray, rng: np.random.Generator) -> None:
    """The bar of grey levels at a side, or a depth scale of ticks."""
    size = layer.shape[0]
    x = int(size * (rng.uniform(0.0, 0.04) if rng.random() < 0.5 else rng.uniform(0.93, 0.98)))
    top, height = int(rng.uniform(0.02, 0.4) * size), int(rng.uniform(0.2, 0.55) * size)
    if rng.random() < 0.5:
        width = int(rng.integers(5, 15))
        part = layer[top : top + height, x : x + width]
        part[:] = np.linspace(255, 10, part.shape[0], dtype=np.uint8)[:, None]
        return
    for y in range(top, size, int(rng.integers(12, 50))):
        cv2.line(layer, (x, y), (x + int(rng.integers(3, 9)), y), [255.0], 1)


def _menu(layer: np.ndarray, rng: np.random.Generator) -> None:
    """A box of grey with text in it, at a side."""
    size = layer.shape[0]
    width, height = (int(value * size) for value in (rng.uniform(0.1, 0.25), rng.uniform(0.08, 0.5)))
    x, y = int(rng.choice([0, size - width])), int(rng.uniform(0, 0.9) * size)
    cv2.rectangle(layer, (x, y), (x + width, y + height), [float(rng.integers(20, 110))], cv2.FILLED)
    for line in range(y + 14, min(y + height, size), 16):
        words = "".join(rng.choice(LETTERS, int(rng.integers(2, 10))))
        cv2.putText(layer, words, (x + 4, line), FONT, 0.8, [255.0], 1)


KINDS: tuple[Callable[[np.ndarray, np.random.Generator], None], ...] = (
    _calipers,
    _dotted_ellipse,
    _text,
    _grey_bar,
    _menu,
)
