"""Colours: a palette for colour-blind users (Okabe and Ito, 2008), and a colour map of quality."""

from __future__ import annotations

import numpy as np

HUMAN = (230, 159, 0)  # orange: the annotator's mask
PROPOSAL = (86, 180, 233)  # sky blue: proposal of the model
INTERPOLATED = (0, 158, 115)  # bluish green: interpolated proposal
ELLIPSE = (240, 228, 66)  # yellow: measured ellipse
OTHER = (204, 121, 167)  # reddish purple: another rater
EMPTY = (213, 94, 0)  # vermilion: confirmed empty
BACKGROUND = (24, 28, 32)
PADDING = (44, 48, 54)
TEXT = (235, 238, 240)

# Quality from 0 to 1: monotonic in lightness, from blue to yellow, so that it is readable without colour.
_SCALE = np.array(
    [(30, 36, 66), (46, 62, 112), (74, 96, 128), (112, 128, 130), (160, 160, 112), (206, 194, 88), (250, 230, 80)],
    float,
)


def quality_colours(quality: np.ndarray) -> np.ndarray:
    """Colours of quality values in [0, 1], float [N]: uint8 [N, 3]; nan is padding."""
    position = np.clip(np.nan_to_num(quality), 0, 1) * (len(_SCALE) - 1)
    low = np.minimum(position.astype(int), len(_SCALE) - 2)
    fraction = (position - low)[:, None]
    colours = (_SCALE[low] * (1 - fraction) + _SCALE[low + 1] * fraction).round().astype(np.uint8)
    colours[np.isnan(quality)] = PADDING
    return colours


def unit_rgb(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    """A colour with components from 0 to 1, as in Slicer."""
    red, green, blue = colour
    return (red / 255, green / 255, blue / 255)
