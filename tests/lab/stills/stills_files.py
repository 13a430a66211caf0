"""A small folder in the layout of the real still images, written for a test."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from fetaliqa.measure import Ellipse, draw_ellipse

SHAPE = (240, 300)
OUTLINE = Ellipse(150.0, 120.0, 70.0, 55.0, 20.0)
ELLIPSE_HEADER = "file,cx,cy,semi_a,semi_b,angle_deg,confidence,calipers,cut,identical_to"


def scan(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Smooth noise like tissue, uint8, with grey levels from 20 to 160; another seed, another scan."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, shape), (0, 0), 3)
    return (90 + np.clip(noise / noise.std(), -2, 2) * 35).astype(np.uint8)


def write_picture(path: Path, picture: np.ndarray) -> Path:
    """Written, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)
    return path


def write_african(root: Path, pictures: dict[str, np.ndarray], plane: int = 0) -> None:
    """African planes by patient, such as ``patient001_GHA``; abdomens are all outlined by ``OUTLINE``."""
    part = {0: "african_abdomen", 2: "african_femur", 3: "african_thorax"}[plane]
    rows = [ELLIPSE_HEADER]
    for name, picture in pictures.items():
        write_picture(root / part / f"{name}_plane{plane}.png", picture)
        rows.append(f"{name}_plane{plane}.png,150,120,70,55,20,sure,no,no,")
    if plane == 0:
        (root / part / "ellipses.csv").write_text("\n".join(rows) + "\n")


def filled_line(outline: Ellipse, shape: tuple[int, int]) -> np.ndarray:
    """The mask that filling HC18's drawn line gives, uint8 of 0 and 255."""
    axes = outline.semi_major + 1.354, outline.semi_minor + 1.354
    outer = Ellipse(outline.center_x, outline.center_y, *axes, outline.angle_deg)
    return draw_ellipse(outer, shape) * 255
