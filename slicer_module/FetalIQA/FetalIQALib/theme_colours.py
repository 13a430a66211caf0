"""Colours that are readable on the application's background, in the light and the dark theme.

Contrast as in WCAG 2.2: at least 4.5 to 1 for text (1.4.3) and 3 to 1 for marks (1.4.11).
"""

from __future__ import annotations

Colour = tuple[int, int, int]
TEXT_CONTRAST, MARK_CONTRAST = 4.5, 3.0
STEPS = 64  # from a colour to black or white


def luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, from 0 to 1 (WCAG 2.2)."""
    parts = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (component / 255 for component in colour)
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(first: Colour, second: Colour) -> float:
    """Contrast of two colours, from 1 to 21 (WCAG 2.2)."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def readable(colour: Colour, background: Colour, ratio: float = TEXT_CONTRAST) -> Colour:
    """The colour, mixed with as little black or white as its contrast to the background requires."""
    end = 0 if luminance(background) > 0.18 else 255  # 0.18: as far from black as from white
    for step in range(STEPS + 1):
        red, green, blue = (round(value + (end - value) * step / STEPS) for value in colour)
        if contrast((red, green, blue), background) >= ratio:
            return (red, green, blue)
    return (end, end, end)


def css(colour: Colour) -> str:
    """The colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
