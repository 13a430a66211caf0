"""Colours of overlay, strip and plot, after the palette of Okabe and Ito (2008) for colour-blind users.

The annotator's mask and the measured ellipse differ in lightness as well as in hue: 3 to 1 or more (WCAG 2.2).
"""

from __future__ import annotations

import numpy as np

HUMAN = (213, 94, 0)  # dark orange: the annotator's mask
PROPOSAL = (86, 180, 233)  # sky blue: proposal of the model
INTERPOLATED = (0, 158, 115)  # bluish green: interpolated proposal
ELLIPSE = (255, 249, 196)  # pale yellow: measured ellipse
OTHER = (204, 121, 167)  # reddish purple: another rater
EMPTY = (170, 178, 186)  # grey: confirmed empty
CLICK_IN = (110, 255, 120)  # light green: a click on the abdomen, a box around it
CLICK_OUT = (255, 120, 90)  # light red: a click beside it
BACKGROUND = (24, 28, 32)
UNASSESSED = (112, 120, 128)  # dots: not assessed
PADDING = (108, 114, 122)  # stripes: black frames at the end of a sweep
TEXT = (235, 238, 240)

# Quality from 0 to 1: monotonic in lightness, from blue to yellow, so that it is readable without colour. The
# colour of quality 0 has a contrast of 3 to 1 to the background.
_SCALE = np.array(
    [
        (84, 112, 176),
        (92, 128, 176),
        (104, 146, 172),
        (128, 164, 158),
        (166, 184, 130),
        (206, 206, 100),
        (250, 230, 80),
    ],
    float,
)


def quality_colours(quality: np.ndarray) -> np.ndarray:
    """Colours of quality values in [0, 1], float [N]: uint8 [N, 3]; nan is ``UNASSESSED``."""
    position = np.clip(np.nan_to_num(quality), 0, 1) * (len(_SCALE) - 1)
    low = np.minimum(position.astype(int), len(_SCALE) - 2)
    fraction = (position - low)[:, None]
    colours = (_SCALE[low] * (1 - fraction) + _SCALE[low + 1] * fraction).round().astype(np.uint8)
    colours[np.isnan(quality)] = UNASSESSED
    return colours


def unit_rgb(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    """A colour with components from 0 to 1, as in Slicer."""
    red, green, blue = colour
    return (red / 255, green / 255, blue / 255)
