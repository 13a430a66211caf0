"""Colour palette of figures and reports: light on dark, as ultrasound is viewed."""

from __future__ import annotations

from fetaliqa.pictures.frame_picture import ELLIPSE_COLOUR, OUTLINE_COLOUR


def _hex(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


BACKGROUND = "#101418"
PANEL = "#171d23"
PANEL_OTHER = "#1d252c"  # every second sweep
PADDING = "#2b3036"  # black slots at the end of a sweep
FAINT = "#39424b"
MUTED = "#93a1ad"
TEXT = "#eef2f5"
WARN = "#ff8a70"
ACCENT = _hex(OUTLINE_COLOUR)
MEASURE = _hex(ELLIPSE_COLOUR)
