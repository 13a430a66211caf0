"""The quality measures on real still images: do they tell abdominal planes from other planes?

The planes were sorted by those who published them; no clinician graded their quality. Marks that are burned in are
filled first, since calipers are on abdomens and femurs only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fetaliqa.atomic import atomic_path
from fetaliqa.lab.image_quality import MEASURES, classic_scores
from fetaliqa.lab.image_quality.measure_list import FrameFunction
from fetaliqa.lab.paper.paper_study import Study
from fetaliqa.lab.stills.burned_in_marks import without_marks
from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import Still, read_grey

SETS = {"african": "African", "spanish": "Spanish"}  # sources with abdomens and other planes


@dataclass(frozen=True, eq=False)
class StillScores:
    """Scores of the images of one set.

    Attributes:
        label: of the set.
        abdomen: bool [N].
        scores: per measure, float [N]; NaN where undefined.
    """

    label: str
    abdomen: np.ndarray
    scores: dict[str, np.ndarray]

    @property
    def heading(self) -> str:
        """Of the column: set and numbers of images."""
        count = int(self.abdomen.sum())
        return f"ROC-AUC, {count} {self.label} abdomens against {len(self.abdomen) - count} other planes"


def still_scores(
    study: Study, keys: Mapping[str, str], trained: Mapping[str, FrameFunction]
) -> dict[str, StillScores]:
    """Scores by source; empty without a folder of stills.

    Args:
        study: with ``stills``.
        keys: for each measure, a name that identifies it in the cache.
        trained: the trained measures.

    Raises:
        NotFoundError, SweepError: when the images cannot be read.
    """
    if study.stills is None:
        return {}
    chosen = [still for still in read_catalogue(study.stills) if still.source in SETS]
    names = [name for name in keys if not MEASURES[name].needs_neighbours]
    digest = hashlib.sha256("".join(still.sha256 for still in chosen).encode()).hexdigest()[:16]
    file = study.work / "classic" / f"stills-{digest}.npz"
    held: dict[str, np.ndarray] = {}
    if file.is_file():
        with np.load(file, allow_pickle=False) as read:
            held = {name: read[name] for name in read.files}
    if missing := [name for name in names if keys[name] not in held]:
        file.parent.mkdir(parents=True, exist_ok=True)
        found = _scored(study, chosen, missing, trained)
        held |= {keys[name]: found[name] for name in missing}
        with atomic_path(file) as temporary, open(temporary, "wb") as written:
            np.savez(written, **held)  # type: ignore[arg-type]
    sources = np.array([still.source for still in chosen])
    abdomen = np.array([still.plane == "abdomen" for still in chosen])
    return {
        source: StillScores(
            label, abdomen[sources == source], {name: held[keys[name]][sources == source] for name in names}
        )
        for source, label in SETS.items()
        if (sources == source).any()
    }


def _scored(
    study: Study, stills: list[Still], names: list[str], trained: Mapping[str, FrameFunction]
) -> dict[str, np.ndarray]:
    scores: dict[str, list[float]] = {name: [] for name in names}
    for number, still in enumerate(stills):
        image = without_marks(read_grey(still.file))
        own = classic_scores(image[None], np.zeros(1, bool), ((0, 1),), names, trained=trained)
        for name in names:
            scores[name].append(float(own[name][0]))
        study.report("classic: real still images", number + 1, len(stills))
    return {name: np.array(values) for name, values in scores.items()}
