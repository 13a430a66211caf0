"""How wide the uncertain band along a model's outline is."""

from __future__ import annotations

import math

import numpy as np

BAND = 0.7  # probability of the inner outline, for a threshold of 0.5; the outer one is at 0.3


def border_band(probabilities: np.ndarray, threshold: float) -> float:
    """Width of the band between two outlines, as a share of the circumference of the outline at the threshold.

    The outlines are those at probabilities 0.3 and 0.7 for a threshold of 0.5; for another one, as far from it on
    the logit scale. A circumference grows with the square root of the area, so the areas alone are needed.

    Args:
        probabilities: float [S, S], with some foreground.
        threshold: of the outline, between 0 and 1.

    Returns:
        0 for a sharp border; up to 1, where no pixel reaches the inner outline.

    Examples:
        >>> sharp = np.zeros((8, 8)); sharp[2:6, 2:6] = 0.99
        >>> border_band(sharp, 0.5)
        0.0
    """
    logit, step = math.log(threshold / (1 - threshold)), math.log(BAND / (1 - BAND))
    levels = (1 / (1 + math.exp(-logit - sign * step)) for sign in (-1, 0, 1))
    outer, middle, inner = (math.sqrt(int(np.count_nonzero(probabilities > level))) for level in levels)
    return min(1.0, (outer - inner) / middle) if middle else 1.0
