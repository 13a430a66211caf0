"""Outlines and circumferences that should not be used without a look at the frame: a sentence beside each of them.

Figures of how often these warn, on right and on wrong answers: docs/assessment.md, "Warnings".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fetaliqa.measure import UNLIKE_DISTANCE, rank_frames
from fetaliqa.measure.anatomy import Anatomy

# Circumferences that were right to 10 % had a quality of 0.87 and more on held-out phantoms, one that was a third
# too small 0.64.
LOW_QUALITY = 0.75
# Reference values of one case in different sweeps of ACOUSLIC-AI differ by 14 % of their mean at most in 95 % of
# 173 cases.
MOST_DIFFERENCE = 0.2  # of the mean of the two
COMPARED_FRAMES = 5  # the best ones, at least 15 frames apart
# Two outlines of one size whose Dice is 0.7 have 30 % of their area apart; one reader's two readings of abdomens
# that he called doubtful have 0.94.
LOW_EXPECTED_DICE = 0.7
# Of frames like the training data 1 % are beyond the limit by its making, so a few in a case are nothing to tell.
MANY_UNLIKE, LEAST_UNLIKE = 0.1, 3  # share of the frames that were looked at; frames


def add_warnings(
    fields: dict[int, dict[str, Any]],
    quality: np.ndarray,
    positive: np.ndarray,
    ranges: Sequence[tuple[int, int]],
    anatomy: Anatomy,
) -> None:
    """Add to the ``warning`` of outlined frames what speaks against their outline or circumference.

    Args:
        fields: what is known of each frame, by its number; changed in place.
        quality, positive: of all frames, see ``rank_frames``.
        ranges: half-open frame range of each sweep.
        anatomy: what is outlined.
    """
    measured = {
        frame: float(found["circumference_mm"])
        for frame, found in fields.items()
        if found.get("circumference_mm") is not None
    }
    best = rank_frames(quality, positive, ranges, top_n=COMPARED_FRAMES).frames
    compared = {frame: measured[frame] for frame in best if frame in measured and quality[frame] >= LOW_QUALITY}
    for frame, found in fields.items():
        if not positive[frame]:
            continue
        told = [_unlike(found, anatomy), found.get("warning"), _low_dice(found)]
        if frame in measured:
            if quality[frame] < LOW_QUALITY and not found.get(
                "unlike_training_data"
            ):  # else it is low by that alone
                told.append(f"quality {quality[frame]:.2f} is low; check that the outline is right")
            told.append(_disagreement(frame, measured[frame], compared, anatomy.measurement))
        if any(told) or "warning" in found:
            found["warning"] = "; ".join(sentence for sentence in told if sentence) or None


def case_notes(told: Iterable[str], frames: Iterable[Mapping[str, Any]], anatomy: str) -> list[str]:
    """Notes on a case: what was told of reading it, and how many frames are unlike what the model learnt from.

    Args:
        told: of reading it.
        frames: of the record; few of them that are unlike the training data are not told.
        anatomy: name of what is outlined.
    """
    seen = [frame["unlike_training_data"] for frame in frames if "unlike_training_data" in frame]
    count = sum(seen)
    if not count or (count < len(seen) and count < max(LEAST_UNLIKE, MANY_UNLIKE * len(seen))):
        return list(told)
    of_them = f"{count} of {len(seen)} frames looked at are" if len(seen) > 1 else "the frame is"
    of_them = f"all {of_them}" if count == len(seen) > 1 else of_them
    return [
        *told,
        f"{of_them} unlike the images that the model learnt from; check that the case shows the {anatomy}",
    ]


def _unlike(found: Mapping[str, Any], anatomy: Anatomy) -> str | None:
    if not found.get("unlike_training_data"):
        return None
    return (
        f"unlike the images that the model learnt from (distance {found['distance']:.2f}, limit "
        f"{UNLIKE_DISTANCE:.0f}); check that it shows the {anatomy.name}"
    )


def _low_dice(found: Mapping[str, Any]) -> str | None:
    value = found.get("expected_dice")
    if value is None or value >= LOW_EXPECTED_DICE:
        return None
    return f"expected Dice {value:.2f} is low; check the outline"


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
