"""Training and held-out images of the shipped models.

The abdomen model: a quarter of the patients, by hash, and besides never trained on are the Spanish abdomens,
whose calipers are the reference; ACOUSLIC-AI's frames, by their licence; and NatalIA's phantom. The femur model:
the same patients, and besides the Spanish femurs and all "other" planes. The head model: a fifth of HC18's
patients, and of the other images, by hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fetaliqa.lab.stills.still_image import Still, read_grey
from fetaliqa.lab.stills.still_samples import Anatomy, usable
from fetaliqa.lab.stills.still_split import patient_split

ABDOMEN_TEST_SHARE = 0.25  # of the patients
HEAD_TEST_SHARE = 0.2


def learnt_from(stills: Sequence[Still], anatomy: Anatomy) -> list[Still]:
    """Available images that the model of an anatomy was trained on."""
    if anatomy == "head":
        return usable([one for one in stills if _teaches_heads(one)], anatomy)
    train, _ = patient_split(stills, ABDOMEN_TEST_SHARE)
    if anatomy == "femur":
        return usable([one for one in train if _teaches_femurs(one)], anatomy)
    return usable([one for one in train if _teaches_abdomens(one)], anatomy)


def held_out(stills: Sequence[Still], anatomy: Anatomy) -> list[Still]:
    """Images that it was not trained on."""
    used = {one.file for one in learnt_from(stills, anatomy)}
    return [one for one in stills if one.file not in used]


def _teaches_abdomens(still: Still) -> bool:
    if not still.trainable or still.plane == "phantom":
        return False
    return not (still.source == "spanish" and still.plane == "abdomen")


def _teaches_femurs(still: Still) -> bool:
    return (
        _teaches_abdomens(still)
        and still.plane != "other"
        and not (still.source == "spanish" and still.plane == "femur")
    )


def _teaches_heads(still: Still) -> bool:
    if not still.trainable or still.plane in ("other", "phantom", "brain"):
        return False
    if still.plane == "head":
        return _fraction(f"hc18:{still.patient.rpartition('/')[2]}".encode()) >= HEAD_TEST_SHARE
    return _fraction(read_grey(still.file).tobytes()) >= HEAD_TEST_SHARE


def _fraction(content: bytes) -> float:
    """A number in [0, 1) that depends on the content only."""
    return int(hashlib.sha256(content).hexdigest()[:8], 16) / 2**32
