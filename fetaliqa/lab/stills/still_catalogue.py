"""The catalogue of real still images, without duplicates; patients that share an image are merged.

Public sets contain the same image under several patients' names (African planes: 21 pairs), and the same scan in
other crops (Egypt), which would leak between the parts of a split by patient.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from fetaliqa.errors import NotFoundError
from fetaliqa.lab.stills.still_image import Still
from fetaliqa.lab.stills.still_sources import SOURCES, Read

# Correlation of two 32 x 32 thumbnails above which two names are one patient. On 1,125 images all 24 pairs above
# it in the African sets are equal or the same scan in another crop, and no two patients of HC18 reach 0.93.
SAME_SCAN = 0.95


def read_catalogue(folder: Path) -> list[Still]:
    """All still images of a folder that holds the data sets named in ``still_sources``, in a fixed order.

    Args:
        folder: any of the sets may be missing.

    Raises:
        NotFoundError: when there is no such folder, or no image of these sets in it.
        SweepError: when a table or a picture cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: no such folder of still images")
    read = [one for source in SOURCES for one in source(folder)]
    if not read:
        raise NotFoundError(f"{folder}: no still images; sets such as hc18 or african_abdomen are expected in it")
    return _without_copies(_patients_merged(read))


def _patients_merged(read: Iterable[Read]) -> list[Still]:
    """Patients that share an image, or nearly so, get one name: the first in alphabetical order."""
    read = list(read)
    groups = DisjointSet(name for still, picture in read for name in (still.patient, f"pixels/{picture.sha256}"))
    for still, picture in read:
        groups.merge(still.patient, f"pixels/{picture.sha256}")
    thumbnails = np.stack([picture.thumbnail for _, picture in read])
    for one, other in np.argwhere(np.triu(thumbnails @ thumbnails.T, 1) > SAME_SCAN):
        groups.merge(read[one][0].patient, read[other][0].patient)
    names: dict[str, str] = {}
    for patient in sorted({still.patient for still, _ in read}):
        names.setdefault(groups[patient], patient)
    return [replace(still, patient=names[groups[still.patient]]) for still, _ in read]


def _without_copies(stills: list[Still]) -> list[Still]:
    unique: dict[str, Still] = {}
    # of duplicates, one with an outline is preferred
    for still in sorted(stills, key=lambda still: still.ellipse is None and still.line is None):
        first = unique.get(still.sha256)
        unique[still.sha256] = replace(first, also=(*first.also, still.name)) if first else still
    order = {still.file: number for number, still in enumerate(stills)}
    return sorted(unique.values(), key=lambda still: order[still.file])
