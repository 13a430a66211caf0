"""Classes of masks that hold values: which there are, and where each is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from fetaliqa.errors import LabelError
from fetaliqa.export.incoming.base import ClassLabel, Outline

INSIDE = (1, 255, 65535)  # what programs write for inside, when there is nothing else but 0
Progress = Callable[[int, int], None]


def values_in(mask: np.ndarray) -> set[int]:
    """Whole numbers in a mask, 0 left out."""
    return set(np.unique(mask).tolist()) - {0}


def classes_of(masks: Iterable[np.ndarray]) -> list[ClassLabel]:
    """Classes of masks whose values nobody names: inside, or one for each value.

    All masks that belong together are asked for at once: one that holds only 1 may be of a set in which 1 and 2
    are different structures.
    """
    values: set[int] = set()
    for mask in masks:
        values |= values_in(mask)
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
