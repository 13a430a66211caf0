"""The quality of frames alone, without masks or a record."""

from __future__ import annotations

import numpy as np

from fetaliqa.inference.measuring import FrameAssessor
from fetaliqa.inference.predictor import Predictor
from fetaliqa.inference.transfers import on_host, reading
from fetaliqa.sweep import Sweep


def frame_quality(sweep: Sweep, predictor: Predictor, indices: np.ndarray) -> np.ndarray:
    """Quality of chosen frames, float [N], as an assessment at the card's threshold has it.

    Args:
        sweep: the frames.
        predictor: a segmentation model.
        indices: frame numbers, int [N].
    """
    threshold = predictor.card.threshold
    assessor = FrameAssessor(sweep, predictor, threshold.probability, threshold.frame)
    quality: list[float] = []
    for chunk in predictor.predict(sweep.frames, indices):
        assert chunk.probabilities is not None
        with reading(chunk.probabilities.device, chunk.computed):
            outlines = assessor.on_both_grids(chunk.probabilities)
            signals = [None] * len(outlines) if chunk.signals is None else on_host(chunk.signals).tolist()
        for outline, told in zip(outlines, signals):
            fields, _ = assessor.measured(outline, None, told)
            quality.append(fields["quality"])
    return np.array(quality)
