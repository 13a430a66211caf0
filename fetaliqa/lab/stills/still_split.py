"""Splits of still images by patient, determined by a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from itertools import chain

from scipy.cluster.hierarchy import DisjointSet

from fetaliqa.errors import OptionError
from fetaliqa.lab.stills.still_image import Still

Sides = tuple[list[Still], list[Still]]


def patient_split(stills: Sequence[Still], test_share: float, seed: int = 0) -> Sides:
    """Split into training and test images; no patient and no image is on both sides.

    Images for evaluation only (``Still.trainable``) are test images, with all others of the patient.

    A patient's part depends on seed and name only, so it does not change when images are added, unless patients
    turn out to share an image. The test share holds on average.

    Args:
        stills: of any sets.
        test_share: share of the patients to test on, 0 to 1.
        seed: another seed, another split.

    Returns:
        Training and test images, each in the order given.

    Raises:
        OptionError: when the share is outside of 0 to 1.
    """
    if not 0 <= test_share <= 1:
        raise OptionError(f"test share {test_share}; a share from 0 to 1 is needed")

    def tested(patient: str, group: Sequence[Still]) -> bool:
        return _fraction(seed, patient) < test_share or not all(still.trainable for still in group)

    return _sides(stills, tested)


def leave_out(stills: Sequence[Still], centres: Collection[str]) -> Sides:
    """Split into images of all other centres and images of these, for a test on unseen scanners.

    Patients and images that are in both (shared under several names) go to the second part.

    Args:
        stills: of any sets.
        centres: countries or centres to leave out, as in ``Still.centre``.

    Raises:
        OptionError: when no image is of one of the centres.
    """
    existing = {still.centre for still in stills}
    unknown = [centre for centre in centres if centre not in existing]
    if unknown:
        raise OptionError(f"no image of {', '.join(unknown)}; there are {', '.join(sorted(existing))}")
    return _sides(stills, lambda _, group: any(still.centre in centres for still in group))


def _sides(stills: Sequence[Still], is_second: Callable[[str, Sequence[Still]], bool]) -> Sides:
    pairs = [(f"patient/{still.patient}", f"pixels/{still.sha256}") for still in stills]
    groups = DisjointSet(chain(*pairs))
    for patient, pixels in pairs:
        groups.merge(patient, pixels)
    members: dict[str, list[Still]] = {}
    for still, (patient, _) in zip(stills, pairs):
        members.setdefault(groups[patient], []).append(still)
    second = {
        still.file
        for group in members.values()
        if is_second(min(still.patient for still in group), group)
        for still in group
    }
    return [one for one in stills if one.file not in second], [one for one in stills if one.file in second]


def _fraction(seed: int, patient: str) -> float:
    """A number in [0, 1) that depends on seed and patient only."""
    return int.from_bytes(hashlib.sha256(f"{seed}|{patient}".encode()).digest()[:8], "big") / 2**64
