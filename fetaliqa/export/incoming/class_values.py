"""Classes of masks by pixel value: which values occur, and the outline of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fetaliqa.errors import FetalIQAError, LabelError
from fetaliqa.export.incoming.label_source import ClassLabel, Outline, Placed

INSIDE = (1, 255, 65535)  # usual values for the inside of a binary mask
Progress = Callable[[int, int], None]


def values_in(mask: np.ndarray) -> set[int]:
    """Whole numbers in a mask or a stack of masks, 0 left out."""
    if mask.ndim > 2:  # frame by frame: counting takes eight times the memory of the values
        return set().union(*map(values_in, mask))
    if mask.dtype == np.uint8:  # many times faster than sorting all pixels
        return set(np.flatnonzero(np.bincount(mask.ravel())).tolist()) - {0}
    return set(np.unique(mask).tolist()) - {0}


def unnamed_classes(
    placed: Placed[Path], read: Callable[[Path], np.ndarray], progress: Progress | None
) -> list[ClassLabel]:
    """Classes of masks with unnamed values: one for a binary mask, or one per value.

    All masks are read: a mask with value 1 only may belong to a set in which 1 and 2 are different structures.

    Args:
        placed: the files; the case of an unreadable one is rejected.
        read: gives the values of a file.
        progress: called with files read and files in all.
    """
    values: set[int] = set()
    files = [(case, file) for case in placed.at for _, _, file in placed.of(case)]
    for done, (case_id, file) in enumerate(files, start=1):
        try:
            values |= values_in(read(file))
        except FetalIQAError as problem:
            placed.refuse(case_id, str(problem))
        if progress is not None:
            progress(done, len(files))
    if len(values) == 1 and values <= set(INSIDE):
        return [ClassLabel(None)]
    return [ClassLabel(None, value) for value in sorted(values)]


def outlines_of(mask: np.ndarray, classes: Sequence[ClassLabel], name: str) -> list[Outline]:
    """Outlines of the classes that a mask (whole numbers [H, W]) holds.

    Args:
        mask: 0 where no class is.
        classes: with their values.
        name: of the file, for messages.

    Raises:
        LabelError: when it holds a value that is no class.
    """
    values = values_in(mask)
    if list(classes) == [ClassLabel(None)]:
        return [Outline(classes[0], lambda: mask > 0)] if values else []
    unknown = values - {one.value for one in classes}
    if unknown:
        raise LabelError(f"{name}: holds the value {min(unknown)}, which no class has")
    return [
        Outline(label, lambda value=label.value: mask == value)  # type: ignore[misc]
        for label in classes
        if label.value in values
    ]
