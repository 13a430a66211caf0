"""Real still images: what they show, who was scanned, their outlines and licences, and how they train a model."""

from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import Plane, Still

__all__ = ["Plane", "Still", "read_catalogue"]
