"""A small folder in the layout of HC18, written for a test."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from fetaliqa.measure.ellipse import ellipse_circumference

PIXEL_MM = 0.2
AXES = (120, 90)
HC_MM = ellipse_circumference(*AXES) * PIXEL_MM
HEADER = "filename,pixel size(mm),head circumference (mm)"


def line(width: int = 3) -> np.ndarray:
    """uint8 [300, 400], an ellipse drawn as a line."""
    picture = np.zeros((300, 400), np.uint8)
    cv2.ellipse(picture, (200, 150), AXES, 0, 0, 360, [255.0], width)
    return picture


def write_hc18(root: Path, names: list[str], *, nested: bool = True) -> Path:
    """A grey image and its annotation for each name."""
    images = root / "images" if nested else root
    annotations = root / "annotations" if nested else root
    for folder in (images, annotations):
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(images / f"{name}.png"), np.full((300, 400), 90, np.uint8))
        cv2.imwrite(str(annotations / f"{name}_Annotation.png"), line())
    rows = [f"{name}.png,{PIXEL_MM},{HC_MM:.2f}" for name in names]
    (root / "pixel_size_and_HC.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return root
