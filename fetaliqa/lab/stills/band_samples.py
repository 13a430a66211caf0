"""Random training samples whose mask is the band of a line."""

from __future__ import annotations

import numpy as np

from fetaliqa.lab.stills.still_samples import StillSet
from fetaliqa.measure import draw_line, fit_line


class BandSet(StillSet):
    """A ``StillSet`` of lines: the band of a sample has its usual width, however the image was scaled."""

    def sample(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, mask = super().sample(index, rng)
        line = fit_line(mask, None).line if mask.any() else None
        return image, mask if line is None else draw_line(line, (mask.shape[0], mask.shape[1]))
