"""Simulated prompts: clicks where a mask is wrong, boxes, and previous masks that are not right.

All masks are uint8 [S, S] of 0 and 1 on the square grid; clicks are (column, row) in its pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

Point = tuple[float, float]
Box = tuple[float, float, float, float]

JITTER = 0.6  # of an error region's greatest depth: training clicks are at pixels at least as deep
CENTRED = 0.35  # of the object's greatest depth, for the first click in training
MIN_ERROR_PX = 6  # pixels of an error region that is worth a click
NEAR, FAR = (0.03, 0.09), (0.03, 0.2)  # of the radius, by which a border is moved
BOX_JITTER = 0.06  # of the box's sides


@dataclass
class Prompts:
    """The prompts on one frame so far."""

    foreground: list[Point] = field(default_factory=list)
    background: list[Point] = field(default_factory=list)
    box: Box | None = None

    @property
    def clicks(self) -> int:
        return len(self.foreground) + len(self.background)


def depth_map(mask: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a mask to its border or to that of the image, float32."""
    return cv2.distanceTransform(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)[
        1:-1, 1:-1
    ]


def deep_point(mask: np.ndarray, share: float, rng: np.random.Generator | None) -> Point | None:
    """A pixel of a mask at least ``share`` of its greatest depth inside; the deepest without ``rng``."""
    depth = depth_map(mask)
    deepest = float(depth.max())
    if deepest <= 0:
        return None
    if rng is None:
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        rows, columns = np.nonzero(depth >= share * deepest)
        drawn = int(rng.integers(len(rows)))
        row, column = rows[drawn], columns[drawn]
    return float(column), float(row)


def next_click(
    truth: np.ndarray, answer: np.ndarray, rng: np.random.Generator | None = None
) -> tuple[Literal["foreground", "background"], Point] | None:
    """The click that a person would make next: in the largest region where the answer is wrong.

    Args:
        truth, answer: masks.
        rng: for training, a random place deep in the region; None: its deepest pixel.

    Returns:
        The kind of click and its place; None where hardly a pixel is wrong.
    """
    best: tuple[int, Literal["foreground", "background"], np.ndarray] | None = None
    kinds: tuple[tuple[Literal["foreground", "background"], np.ndarray], ...] = (
        ("foreground", truth & ~answer & 1),
        ("background", answer & ~truth & 1),
    )
    for kind, wrong in kinds:
        _, parts, statistics, _ = cv2.connectedComponentsWithStats(wrong, connectivity=4)
        if len(statistics) < 2:
            continue
        largest = int(statistics[1:, cv2.CC_STAT_AREA].argmax()) + 1
        size = int(statistics[largest, cv2.CC_STAT_AREA])
        if size >= MIN_ERROR_PX and (best is None or size > best[0]):
            best = size, kind, (parts == largest).astype(np.uint8)
    if best is None:
        return None
    place = deep_point(best[2], JITTER, rng)
    return None if place is None else (best[1], place)


def random_box(truth: np.ndarray, rng: np.random.Generator) -> Box | None:
    """The bounding box of a mask, loosely drawn."""
    left, top, width, height = cv2.boundingRect(truth)
    if not width:
        return None
    off = rng.uniform(-BOX_JITTER, BOX_JITTER, 4) * (width, height, width, height)
    return (left + off[0], top + off[1], left + width - 1 + off[2], top + height - 1 + off[3])


def wrong_mask(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A previous mask that is not right: moved, bent, cut, grown, shrunk, or an ellipse of a wrong size."""
    area = max(1, int(truth.sum()))
    radius = math.sqrt(area / math.pi)
    mask = truth
    if rng.random() < 0.15:
        mask = _ellipse_about(truth, rng)
    if rng.random() < 0.6:
        mask = _moved(mask, radius, rng)
    if rng.random() < 0.5:
        mask = _bent(mask, radius, rng)
    if rng.random() < 0.3:
        width = 2 * int(rng.integers(1, max(2, round(0.25 * radius)))) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
        mask = cv2.dilate(mask, kernel) if rng.random() < 0.5 else cv2.erode(mask, kernel)
    if rng.random() < 0.2:
        mask = _cut(mask, radius, rng)
    if rng.random() < 0.15:
        mask = _blob_added(mask, radius, rng)
    return np.ascontiguousarray(mask, np.uint8)


def nearly_right_mask(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A previous mask whose border is off by little, here and there, as before a session's last clicks."""
    radius = math.sqrt(max(1, int(truth.sum())) / math.pi)
    return np.ascontiguousarray(_bent(truth, radius, rng, NEAR), np.uint8)


def _middle(mask: np.ndarray) -> tuple[float, float]:
    moments = cv2.moments(mask, binaryImage=True)
    if moments["m00"] == 0:
        return mask.shape[1] / 2, mask.shape[0] / 2
    return moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]


def _moved(mask: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    size = mask.shape[0]
    matrix = cv2.getRotationMatrix2D(_middle(mask), rng.uniform(-15, 15), rng.uniform(0.8, 1.25))
    matrix[:, 2] = matrix[:, 2] + rng.normal(0, 0.12 * radius, 2)
    return cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_NEAREST)


def _bent(mask: np.ndarray, radius: float, rng: np.random.Generator, by: tuple[float, float] = FAR) -> np.ndarray:
    """The border moved in and out by smooth noise."""
    distance = depth_map(mask) - depth_map(1 - mask)
    knots = int(rng.integers(3, 8))
    noise = cv2.resize(
        rng.standard_normal((knots, knots)).astype(np.float32), mask.shape[::-1], interpolation=cv2.INTER_CUBIC
    )
    return (distance + noise * rng.uniform(*by) * radius > 0).astype(np.uint8)


def _ellipse_about(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    points = cv2.findNonZero(mask)
    drawn = np.zeros_like(mask)
    if points is None:
        return drawn
    (x, y), (width, height), angle = cv2.minAreaRect(points)
    axes = np.array([width, height]) / 2 * rng.uniform(0.7, 1.3, 2)
    centre = round(x), round(y)
    cv2.ellipse(drawn, centre, (max(1, round(axes[0])), max(1, round(axes[1]))), angle, 0, 360, [1.0], cv2.FILLED)
    return drawn


def _cut(mask: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Without what lies beyond a straight line."""
    rows, columns = np.indices(mask.shape, np.float32)
    x, y = _middle(mask)
    turn = rng.uniform(0, 2 * math.pi)
    beyond = (columns - x) * math.cos(turn) + (rows - y) * math.sin(turn) > rng.uniform(0.0, 0.8) * radius
    return mask & ~beyond


def _blob_added(mask: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    x, y = _middle(mask)
    turn, away = rng.uniform(0, 2 * math.pi), rng.uniform(0.7, 1.6) * radius
    at = round(x + away * math.cos(turn)), round(y + away * math.sin(turn))
    return cv2.circle(mask.copy(), at, max(1, round(rng.uniform(0.15, 0.5) * radius)), [1.0], cv2.FILLED)
