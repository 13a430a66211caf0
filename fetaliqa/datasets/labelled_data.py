"""Labelled data sets: cases of frames with what experts said of them, whatever files they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.sweep import Ranges


@dataclass(frozen=True)
class CaseEntry:
    """A case of a data set, without its pixels. Cases of one subject never part in a subject-wise split."""

    case_id: str
    subject_id: str


@dataclass(frozen=True, eq=False)
class LabelledCase:
    """A case with its reference.

    Attributes:
        case_id: name of the case.
        subject_id: who was scanned; the case's own name where the data set does not say.
        frames: uint8 [T, H, W].
        masks: uint8 [T, H, W], outlines filled; 0 background, 1 anatomy on an optimal plane, 2 on a suboptimal.
        known: bool [T], frames that somebody has looked at; all others are neither positive nor negative.
        spacing: (row, column) pixel spacing in mm, or None.
        ranges: half-open frame range of each sweep.
        circumferences_mm: reference circumference of each sweep; None where there is none.
        weights: float [T], how many frames of the case each known one stands for, where frames were sampled;
            None: one.
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
        """Label of each frame, uint8 [T]: 0 nothing to outline, 1 optimal plane, 2 suboptimal plane.

        A frame that carries both labels counts as optimal, as in the ACOUSLIC-AI challenge.
        """
        flat = self.masks.reshape(len(self.masks), -1)
        grades = flat.max(axis=1).astype(np.uint8)
        for frame in np.flatnonzero(grades > 1):
            if (flat[frame] == 1).any():
                grades[frame] = 1
        return grades

    def measured(self) -> np.ndarray:
        """bool [T]: frames of a sweep with a reference circumference, all that the paper keeps."""
        kept = np.zeros(len(self.frames), bool)
        for (start, stop), value in zip(self.ranges, self.circumferences_mm):
            kept[start:stop] = value is not None
        return kept


class LabelledData(Protocol):
    """A data set that can be split, trained on, and evaluated on.

    Attributes:
        name: short name, for run folders and tables.
        anatomy: what is outlined.
        synthetic: True for phantoms; every figure made on them must say so.
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
            SweepError: when a file of it cannot be used.
        """
        ...

    def fingerprint(self) -> str:
        """SHA-256 (hex) that changes when any label or image of the data set does."""
        ...


def fill_outlines(masks: np.ndarray) -> np.ndarray:
    """Masks with everything inside of each outer contour filled with that contour's label.

    ACOUSLIC-AI's and HC18's annotations may be drawn as closed lines; a model is to learn the area.

    Args:
        masks: uint8 [T, H, W] of labels.

    Returns:
        uint8 [T, H, W]; the input itself where nothing is labelled.
    """
    result = masks
    for index in np.flatnonzero(masks.reshape(len(masks), -1).any(axis=1)):
        filled = masks[index].copy()
        for label in np.unique(filled[filled > 0])[::-1]:  # the smaller label is the better plane and wins
            contours, _ = cv2.findContours(
                (masks[index] == label).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            cv2.drawContours(filled, contours, -1, [float(label)], cv2.FILLED)
        if not np.array_equal(filled, masks[index]):
            if result is masks:
                result = masks.copy()
            result[index] = filled
    return result
