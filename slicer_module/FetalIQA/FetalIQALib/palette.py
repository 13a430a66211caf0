"""Colours that colour-blind people tell apart (Okabe and Ito, 2008), and a scale for quality."""

from __future__ import annotations

import numpy as np

HUMAN = (230, 159, 0)  # orange: what a person drew or accepted
PROPOSAL = (86, 180, 233)  # sky blue: what a model proposes
BETWEEN = (0, 158, 115)  # bluish green: interpolated, to be accepted
ELLIPSE = (240, 228, 66)  # yellow: the ellipse that is measured
OTHER = (204, 121, 167)  # reddish purple: another rater
EMPTY = (213, 94, 0)  # vermilion: confirmed to be empty
BACKGROUND = (24, 28, 32)
PADDING = (44, 48, 54)
TEXT = (235, 238, 240)

# Quality from 0 to 1: grows in lightness all the way, and from blue to yellow, so it can be read without colours.
_SCALE = np.array(
    [(30, 36, 66), (46, 62, 112), (74, 96, 128), (112, 128, 130), (160, 160, 112), (206, 194, 88), (250, 230, 80)],
    float,
)


def quality_colours(quality: np.ndarray) -> np.ndarray:
    """Colours of qualities in [0, 1], float [N]: uint8 [N, 3]; nan is padding."""
    place = np.clip(np.nan_to_num(quality), 0, 1) * (len(_SCALE) - 1)
    low = np.minimum(place.astype(int), len(_SCALE) - 2)
    share = (place - low)[:, None]
    colours = (_SCALE[low] * (1 - share) + _SCALE[low + 1] * share).round().astype(np.uint8)
    colours[np.isnan(quality)] = PADDING
    return colours


def unit(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    """A colour as Slicer has it, from 0 to 1."""
    red, green, blue = colour
    return (red / 255, green / 255, blue / 255)
