"""Pictures of many still images in one: a tile each, with what is drawn on it and a line of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from fetaliqa.lab.stills.still_image import Still, read_grey

REFERENCE, FOUND = (80, 220, 80), (60, 60, 255)  # BGR: green, red
TEXT_ROWS = 14  # pixels below the image


def tile(still: Still, side: int, draw: Callable[[np.ndarray, float], None], text: str) -> np.ndarray:
    """One image.

    Args:
        still: the image.
        side: of the tile, pixels; the image is reduced or enlarged to fit.
        draw: called with the resampled image, BGR uint8 [h, w, 3], which it draws on, and its scale.
        text: below it.
    """
    image = cv2.cvtColor(read_grey(still.file), cv2.COLOR_GRAY2BGR)
    factor = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    draw(small, factor)
    whole = np.zeros((side + TEXT_ROWS, side, 3), np.uint8)
    whole[: size[1], : size[0]] = small
    cv2.putText(whole, text, (2, side + 11), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255, 255, 255), 1)
    return whole


def in_rows(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles side by side, ``columns`` in a row; the last row is filled with black ones."""
    filled = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % columns)]
    return np.vstack([np.hstack(filled[start : start + columns]) for start in range(0, len(filled), columns)])
