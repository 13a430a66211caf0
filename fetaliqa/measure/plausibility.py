"""Warnings about outlines and circumferences that need a check by a person.

How often each warning occurs on correct and on wrong results: docs/assessment.md, "Warnings".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fetaliqa.measure import UNLIKE_DISTANCE, rank_frames, recorded_mm
from fetaliqa.measure.anatomy import Anatomy

# On held-out phantoms, circumferences within 10 % of the truth had a quality of 0.87 or more; one that was a third
# too small had 0.64.
LOW_QUALITY = 0.75
# In 95 % of 173 ACOUSLIC-AI cases the reference values of different sweeps differ by at most 14 % of their mean.
MOST_DIFFERENCE = 0.2  # of the mean of the two
COMPARED_FRAMES = 5  # the best ones, at least 15 frames apart
# Two outlines of equal size with a Dice of 0.7 differ in 30 % of their area. Two readings by one reader of
# abdomens that he marked as doubtful have a Dice of 0.94.
LOW_EXPECTED_DICE = 0.7
# By construction 1 % of in-distribution frames exceed the distance limit, so a few in a case are not reported.
MANY_UNLIKE, LEAST_UNLIKE = 0.1, 3  # share of the assessed frames; frames


def add_warnings(
    fields: dict[int, dict[str, Any]],
    quality: np.ndarray,
    positive: np.ndarray,
    ranges: Sequence[tuple[int, int]],
    anatomy: Anatomy,
) -> None:
    """Set the ``warning`` of frames whose outline, circumference or length is doubtful.

    Args:
        fields: fields of each frame's record, by frame number; changed in place.
        quality, positive: of all frames, see ``rank_frames``.
        ranges: half-open frame range of each sweep.
        anatomy: what is outlined.
    """
    measured = {
        frame: float(size) for frame, record in fields.items() if (size := recorded_mm(record)) is not None
    }
    best = rank_frames(quality, positive, ranges, top_n=COMPARED_FRAMES).frames
    compared = {frame: measured[frame] for frame in best if frame in measured and quality[frame] >= LOW_QUALITY}
    for frame, record in fields.items():
        if not positive[frame]:
            continue
        warnings = [_unlike(record, anatomy), record.get("warning"), _low_dice(record)]
        if frame in measured:
            # the quality of an out-of-distribution frame is always low
            if quality[frame] < LOW_QUALITY and not record.get("unlike_training_data"):
                warnings.append(f"quality {quality[frame]:.2f} is low; check that the outline is right")
            warnings.append(_disagreement(frame, measured[frame], compared, anatomy.measurement))
        if any(warnings) or "warning" in record:
            record["warning"] = "; ".join(warning for warning in warnings if warning) or None


def case_notes(notes: Iterable[str], frames: Iterable[Mapping[str, Any]], anatomy: str) -> list[str]:
    """Notes on a case: those of reading its file, and the number of out-of-distribution frames.

    Args:
        notes: notes from reading the file.
        frames: frame records; a few out-of-distribution frames are not reported.
        anatomy: name of the outlined anatomy.
    """
    unlike = [frame["unlike_training_data"] for frame in frames if "unlike_training_data" in frame]
    count = sum(unlike)
    if not count or (count < len(unlike) and count < max(LEAST_UNLIKE, MANY_UNLIKE * len(unlike))):
        return list(notes)
    subject = f"{count} of {len(unlike)} assessed frames are" if len(unlike) > 1 else "the frame is"
    subject = f"all {subject}" if count == len(unlike) > 1 else subject
    return [
        *notes,
        f"{subject} unlike the images that the model was trained on; check that the case shows the {anatomy}",
    ]


def _unlike(record: Mapping[str, Any], anatomy: Anatomy) -> str | None:
    if not record.get("unlike_training_data"):
        return None
    return (
        f"unlike the images that the model was trained on (distance {record['distance']:.2f}, limit "
        f"{UNLIKE_DISTANCE:.0f}); check that it shows the {anatomy.name}"
    )


def _low_dice(record: Mapping[str, Any]) -> str | None:
    value = record.get("expected_dice")
    if value is None or value >= LOW_EXPECTED_DICE:
        return None
    return f"expected Dice {value:.2f} is low; check the outline"


def _disagreement(frame: int, value: float, compared: Mapping[int, float], measurement: str) -> str | None:
    others = [other for number, other in compared.items() if number != frame]
    if not others:
        return None
    # with two values it is unknown which is right; with more, the median is the reference
    reference = float(np.median([value, *others] if len(others) > 1 and frame in compared else others))
    difference = abs(value - reference) / ((value + reference) / 2)
    if difference <= MOST_DIFFERENCE:
        return None
    return (
        f"{measurement} {value:.0f} mm disagrees with the {reference:.0f} mm of the case's best frames; "
        "check outline and plane"
    )
