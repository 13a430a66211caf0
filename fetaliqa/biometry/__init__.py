"""Ellipse fit and circumference in mm."""

from fetaliqa.biometry.ellipse import Ellipse, draw_ellipse, ellipse_circumference, fit_ellipse
from fetaliqa.biometry.outline import OutlineFit, fit_outline, main_component

__all__ = [
    "Ellipse",
    "OutlineFit",
    "draw_ellipse",
    "ellipse_circumference",
    "fit_ellipse",
    "fit_outline",
    "main_component",
]
