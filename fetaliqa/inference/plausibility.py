"""Circumferences that should not be used without a look at the frame: a sentence beside each of them.

Figures of how often these warn, on right and on wrong answers: docs/assessment.md, "Warnings".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fetaliqa.quality import rank_frames

# Circumferences that were right to 10 % had a quality of 0.87 and more on held-out phantoms, one that was a third
# too small 0.64.
LOW_QUALITY = 0.75
# Reference values of one case in different sweeps of ACOUSLIC-AI differ by 14 % of their mean at most in 95 % of
# 173 cases.
MOST_DIFFERENCE = 0.2  # of the mean of the two
COMPARED_FRAMES = 5  # the best ones, at least 15 frames apart


def add_warnings(
    fields: dict[int, dict[str, Any]],
    quality: np.ndarray,
    positive: np.ndarray,
    ranges: Sequence[tuple[int, int]],
    measurement: str,
) -> None:
    """Add to the ``warning`` of measured frames what speaks against their circumference.

    Args:
        fields: what is known of each frame, by its number; changed in place.
        quality, positive: of all frames, see ``rank_frames``.
        ranges: half-open frame range of each sweep.
        measurement: abbreviation of the circumference.
    """
    measured = {
        frame: float(found["circumference_mm"])
        for frame, found in fields.items()
        if found.get("circumference_mm") is not None
    }
    best = rank_frames(quality, positive, ranges, top_n=COMPARED_FRAMES).frames
    compared = {frame: measured[frame] for frame in best if frame in measured and quality[frame] >= LOW_QUALITY}
    for frame, value in measured.items():
        told = [fields[frame].get("warning")]
        if quality[frame] < LOW_QUALITY:
            told.append(f"quality {quality[frame]:.2f} is low; check that the outline is right")
        told.append(_disagreement(frame, value, compared, measurement))
        fields[frame]["warning"] = "; ".join(sentence for sentence in told if sentence) or None


def _disagreement(frame: int, value: float, compared: Mapping[int, float], measurement: str) -> str | None:
    others = [other for number, other in compared.items() if number != frame]
    if not others:
        return None
    # of two that disagree nobody knows which is right; of more, the median does
    reference = float(np.median([value, *others] if len(others) > 1 and frame in compared else others))
    difference = abs(value - reference) / ((value + reference) / 2)
    if difference <= MOST_DIFFERENCE:
        return None
    return (
        f"{measurement} {value:.0f} mm disagrees with the {reference:.0f} mm of the case's best frames; "
        "check outline and plane"
    )
