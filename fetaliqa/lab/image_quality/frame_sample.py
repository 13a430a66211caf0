"""Labelled frames that the trained quality measures learn from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from fetaliqa.datasets.labelled_data import LabelledCase
from fetaliqa.lab.image_quality.measure_scores import bounding_box
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.sweep.sweep_ranges import black_slots

TARGETS = (0.0, 1.0, 0.5)  # quality by grade: nothing to outline, optimal plane, suboptimal plane
LONGEST_SIDE = 384  # pixels; larger frames are shrunk for the networks
INPUT_ROWS, INPUT_COLUMNS = 160, 224  # of the networks that see whole frames; multiples of 32


@dataclass(frozen=True, eq=False)
class FrameSample:
    """Frames cut to the bounding box of their field of view.

    Attributes:
        frames: uint8 [h, w] each.
        inside: bool [h, w] each, the field of view.
        grades: uint8 [N]; 0 nothing to outline, 1 optimal, 2 suboptimal plane.
    """

    frames: tuple[np.ndarray, ...]
    inside: tuple[np.ndarray, ...]
    grades: np.ndarray

    def __len__(self) -> int:
        return len(self.grades)

    @property
    def targets(self) -> np.ndarray:
        """Quality of each frame, float32 [N]: 1 optimal, 0.5 suboptimal, 0 otherwise."""
        targets: np.ndarray = np.array(TARGETS, np.float32)[self.grades]
        return targets


def sample_frames(cases: Iterable[LabelledCase], per_case: int, seed: int) -> FrameSample:
    """Draw up to ``per_case`` annotated and as many other frames of each case.

    Frames without label and black slots are never drawn.

    Args:
        cases: labelled cases.
        per_case: frames of each kind.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    frames, insides, grades = [], [], []
    for case in cases:
        usable = case.known & ~black_slots(case.frames)
        if not usable.any():
            continue
        inside = field_of_view(case.frames[np.flatnonzero(usable)]) > 0
        box, of_frame = bounding_box(inside), case.grades()
        for pool in (np.flatnonzero(usable & (of_frame > 0)), np.flatnonzero(usable & (of_frame == 0))):
            for frame in random.choice(pool, min(per_case, len(pool)), replace=False):
                pixels, within = shrunk(case.frames[frame][box], inside[box])
                frames.append(pixels)
                insides.append(within)
                grades.append(of_frame[frame])
    return FrameSample(tuple(frames), tuple(insides), np.array(grades, np.uint8))


def shrunk(frame: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A frame and its field of view with a longest side of at most ``LONGEST_SIDE``; never enlarged."""
    factor = LONGEST_SIDE / max(frame.shape)
    if factor >= 1:
        return frame.copy(), inside.copy()
    size = tuple(max(1, round(side * factor)) for side in frame.shape[::-1])
    return (
        cv2.resize(frame, size, interpolation=cv2.INTER_AREA),
        cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0,
    )


def fitted(image: np.ndarray) -> np.ndarray:
    """An image scaled to fit into the networks' input and centred in it, black around.

    Args:
        image: uint8 [h, w]; a mask (bool) keeps its type and gets no values in between.

    Returns:
        The same type, [INPUT_ROWS, INPUT_COLUMNS].
    """
    rows, columns = image.shape
    factor = min(INPUT_ROWS / rows, INPUT_COLUMNS / columns)
    height, width = max(1, round(rows * factor)), max(1, round(columns * factor))
    small: np.ndarray
    if image.dtype == bool:
        small = cv2.resize(image.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    else:
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        small = cv2.resize(image, (width, height), interpolation=method)
    placed = np.zeros((INPUT_ROWS, INPUT_COLUMNS), image.dtype)
    top, left = (INPUT_ROWS - height) // 2, (INPUT_COLUMNS - width) // 2
    placed[top : top + height, left : left + width] = small
    return placed
