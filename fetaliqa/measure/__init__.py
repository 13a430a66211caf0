"""Measurements on a frame: square grid, field of view, ellipse, circumference, frame quality, frame ranking."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
