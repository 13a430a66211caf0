"""Real still images: sources, outlines, licences, splits and augmentation."""

from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import Plane, Still

__all__ = ["Plane", "Still", "read_catalogue"]
