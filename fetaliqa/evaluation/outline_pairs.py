"""Images of frames with predicted and reference outline, as PNG bytes."""

from __future__ import annotations

import cv2
import numpy as np

from fetaliqa.evaluation.example_frames import Example
from fetaliqa.pictures.frame_picture import ELLIPSE_COLOUR, OUTLINE_COLOUR

PREDICTED_COLOUR = OUTLINE_COLOUR  # RGB, turquoise as in the app
TRUTH_COLOUR = ELLIPSE_COLOUR  # RGB, amber; distinguishable from turquoise with colour vision deficiency
WIDTH = 480  # pixels; twice the width of a column of the report


def pair_picture(example: Example, width: int = WIDTH) -> bytes:
    """Draw both outlines over the frame: the reference in amber, the prediction on top in turquoise.

    Args:
        example: the frame.
        width: width of the image in pixels.
    """
    scale = width / example.image.shape[1]
    size = (width, max(1, round(example.image.shape[0] * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = np.repeat(cv2.resize(example.image, size, interpolation=smooth)[..., None], 3, axis=2)
    thickness = max(1, round(width / 320))
    for mask, colour in ((example.truth, TRUTH_COLOUR), (example.predicted, PREDICTED_COLOUR)):
        if mask is not None and mask.any():
            cv2.drawContours(picture, _contours(mask, size), -1, colour, thickness, cv2.LINE_AA)
    done, encoded = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 6])
    assert done
    return encoded.tobytes()


def _contours(mask: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Contours of a mask at the image's size, smoothed by interpolation."""
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours((share >= 0.5).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return list(contours)
