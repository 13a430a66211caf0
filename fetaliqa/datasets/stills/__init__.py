"""Real still images: what they show, who was scanned, their outlines and licences, and how they train a model."""

from fetaliqa.datasets.stills.catalogue import read_catalogue
from fetaliqa.datasets.stills.still import Plane, Still

__all__ = ["Plane", "Still", "read_catalogue"]
