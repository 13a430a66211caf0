"""Burned-in marks (calipers, dotted lines and ellipses, text) taken out of an image."""

from __future__ import annotations

import cv2
import numpy as np

from fetaliqa.biometry import Ellipse


def without_marks(image: np.ndarray, ellipse: Ellipse | None = None) -> np.ndarray:
    """The image with its marks filled from what is around them.

    Args:
        image: uint8 [H, W].
        ellipse: where a dotted ellipse is burned in, native pixels.
    """
    return cv2.inpaint(image, marks_mask(image, ellipse), 3, cv2.INPAINT_TELEA)


def marks_mask(image: np.ndarray, ellipse: Ellipse | None = None) -> np.ndarray:
    """uint8 [H, W], 1 on marks."""
    residual = cv2.absdiff(image, cv2.medianBlur(image, 5))
    return (residual > 60).astype(np.uint8)
