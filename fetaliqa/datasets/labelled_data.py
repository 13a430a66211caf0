"""Interface of labelled data sets: cases of frames with reference labels, independent of file formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.sweep import Ranges


@dataclass(frozen=True)
class CaseEntry:
    """A case of a data set, without its pixels. A subject-wise split keeps cases of one subject together."""

    case_id: str
    subject_id: str


@dataclass(frozen=True, eq=False)
class LabelledCase:
    """A case with its reference labels.

    Attributes:
        case_id: name of the case.
        subject_id: the scanned subject; the case's name if the data set has no subjects.
        frames: uint8 [T, H, W].
        masks: uint8 [T, H, W], outlines filled; 0 background, 1 anatomy on an optimal plane, 2 on a suboptimal.
        known: bool [T], labelled frames; all others are neither positive nor negative.
        spacing: (row, column) pixel spacing in mm, or None.
        ranges: half-open frame range of each sweep.
        circumferences_mm: reference circumference of each sweep; None without one.
        weights: float [T], number of frames that each labelled one represents, if frames were sampled; None for
            one.
    """

    case_id: str
    subject_id: str
    frames: np.ndarray
    masks: np.ndarray
    known: np.ndarray
    spacing: tuple[float, float] | None
    ranges: Ranges
    circumferences_mm: tuple[float | None, ...]
    weights: np.ndarray | None = None

    def grades(self) -> np.ndarray:
        """Grade of each frame, uint8 [T]: 0 no plane, 1 optimal plane, 2 suboptimal plane.

        A frame with both labels is optimal, as in the ACOUSLIC-AI challenge.
        """
        flat = self.masks.reshape(len(self.masks), -1)
        grades = flat.max(axis=1).astype(np.uint8)
        for frame in np.flatnonzero(grades > 1):
            if (flat[frame] == 1).any():
                grades[frame] = 1
        return grades

    def measured(self) -> np.ndarray:
        """bool [T]: frames of sweeps with a reference circumference, the only ones used in the paper."""
        measured = np.zeros(len(self.frames), bool)
        for (start, stop), value in zip(self.ranges, self.circumferences_mm):
            measured[start:stop] = value is not None
        return measured


class LabelledData(Protocol):
    """A data set for splitting, training and evaluation.

    Attributes:
        name: short name, for run folders and tables.
        anatomy: the outlined anatomy.
        synthetic: True for phantoms; figures on them must say so.
    """

    name: str
    anatomy: Anatomy
    synthetic: bool

    def entries(self) -> list[CaseEntry]:
        """All usable cases, in the order of the data set's own table (or by name)."""
        ...

    def read(self, case_id: str) -> LabelledCase:
        """One case with its pixels.

        Raises:
            NotFoundError: when there is no such case.
            SweepError: when one of its files is invalid.
        """
        ...

    def fingerprint(self) -> str:
        """SHA-256 (hex) that changes with any label or image of the data set."""
        ...


def fill_outlines(masks: np.ndarray) -> np.ndarray:
    """Fill the inside of each outer contour with the contour's label.

    Annotations of ACOUSLIC-AI and HC18 may be closed lines, while models are trained on areas.

    Args:
        masks: uint8 [T, H, W] of labels.

    Returns:
        uint8 [T, H, W]; the input itself if nothing changes.
    """
    result = masks
    for index in np.flatnonzero(masks.reshape(len(masks), -1).any(axis=1)):
        filled = masks[index].copy()
        for label in np.unique(filled[filled > 0])[::-1]:  # the smaller label (better plane) has priority
            contours, _ = cv2.findContours(
                (masks[index] == label).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            cv2.drawContours(filled, contours, -1, [float(label)], cv2.FILLED)
        if not np.array_equal(filled, masks[index]):
            if result is masks:
                result = masks.copy()
            result[index] = filled
    return result
