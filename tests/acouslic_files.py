"""Small folders in the ACOUSLIC-AI layout, written for a test."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from fetaliqa.datasets.acouslic_layout import IMAGES, MASKS, Circumferences, write_case, write_circumferences
from fetaliqa.measure.ellipse import ellipse_circumference

SPACING = (1.0, 1.0)
AXES = (34, 27)  # pixels, so mm
AC_MM = ellipse_circumference(34.5, 27.5)  # 195; twice that is still possible
SLOTS, SWEEPS = 4, 6


def ellipse_mask(value: int = 1, axes: tuple[int, int] = AXES) -> np.ndarray:
    """uint8 [112, 128] with a filled ellipse."""
    mask = np.zeros((112, 128), np.uint8)
    cv2.ellipse(mask, (64, 56), axes, 0, 0, 360, [float(value)], cv2.FILLED)
    return mask


def stacks(annotated: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Frames and masks uint8 [24, 112, 128]; the last slot of each sweep is black; frame number -> label."""
    rng = np.random.default_rng(1)
    frames = rng.integers(30, 200, (SLOTS * SWEEPS, 112, 128), dtype=np.uint8)
    frames[SLOTS - 1 :: SLOTS] = 0
    masks = np.zeros_like(frames)
    for frame, label in annotated.items():
        masks[frame] = ellipse_mask(label)
    return frames, masks


def write_set(root: Path, rows: list[Circumferences] | None = None) -> Path:
    """Two sound cases, ``a`` (optimal in sweep 1, suboptimal in sweep 3) and ``b`` (suboptimal in sweep 2)."""
    write_case(root, "a", *stacks({1: 1, 2: 2, 9: 2}), SPACING)
    write_case(root, "b", *stacks({5: 2}), SPACING)
    none = (None,) * SWEEPS
    write_circumferences(
        root,
        rows
        or [
            Circumferences("b", "000", (None, AC_MM, *none[2:])),
            Circumferences("a", "001", (AC_MM, None, AC_MM, *none[3:])),
        ],
    )
    return root


def case_paths(folder: Path) -> list[tuple[Path, Path]]:
    """Image and mask path of every case that has both, by name."""
    pairs = [(path, folder / MASKS / path.name) for path in sorted((folder / IMAGES).glob("*.mha"))]
    return [(image, mask) for image, mask in pairs if mask.is_file()]
