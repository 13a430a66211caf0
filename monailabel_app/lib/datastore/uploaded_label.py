"""Reads a client's label file as masks of the anatomy on the image's own grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.errors import LabelError
from fetaliqa.labels.slicer_segmentation import Segment, Segmentation, anatomy_segments, is_segmentation
from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.anatomy_names import grade_of
from fetaliqa.sweep import Sweep, read_masks
from fetaliqa.sweep.masks import lies_on_grid

GRADED = 2  # 1 is the anatomy on an optimal plane, or ungraded, 2 on a suboptimal one
NO_CLASSES = ("background", "foreground_scribbles", "background_scribbles")  # of MONAI Label's Slicer module


@dataclass(frozen=True)
class UploadedLabel:
    """Content of a label file.

    Attributes:
        masks: uint8 [T, H, W], 0 outside, 1 or (on a suboptimal plane) 2 inside.
        as_sent: whether the file can be stored unchanged: it has these values, on the image's own grid.
        left_out: names of the other classes in the file.
    """

    masks: np.ndarray
    as_sent: bool
    left_out: tuple[str, ...] = ()


def read_label(path: Path, name: str, sweep: Sweep, anatomy: Anatomy, classes: Any = None) -> UploadedLabel:
    """Read a label file; spacing and origin are those of the sweep, whatever the file says.

    Args:
        path: the file.
        name: what to call it in messages.
        sweep: of the image.
        anatomy: what is outlined.
        classes: ``label_info`` of MONAI Label's client: ``[{"name": ..., "idx": ...}]``.

    Raises:
        LabelError, SweepError: when it is no label of this anatomy on this image.
    """
    if is_segmentation(path):
        return _of_segmentation(Segmentation(path), name, sweep, anatomy)
    masks = read_masks(path, sweep, by_size=True)
    names = _class_names(classes)
    values = _values(masks)
    if names and values:
        chosen, left_out = _named_values(names, values, anatomy, name)
    else:
        chosen, left_out = _plain_values(values, anatomy, name), ()
    table = np.zeros(256, np.uint8)
    for value, target in chosen.items():
        table[value] = target
    unchanged = all(value == target for value, target in chosen.items()) and set(values) == set(chosen)
    if not unchanged:
        for frame in np.flatnonzero(masks.reshape(len(masks), -1).any(axis=1)):
            masks[frame] = table[masks[frame]]
    return UploadedLabel(masks, unchanged and lies_on_grid(path, sweep), left_out)


def _of_segmentation(file: Segmentation, name: str, sweep: Sweep, anatomy: Anatomy) -> UploadedLabel:
    chosen = anatomy_segments(file.segments, anatomy, name)
    masks = np.zeros(sweep.shape, np.uint8)
    for segment in chosen:
        overlapping = file.overlapping(segment)
        if overlapping:
            named = ", ".join(repr(other) for other in overlapping)
            raise LabelError(
                f"{name}: its segment {segment.name!r} overlaps {named}, and a label here holds the "
                f"{anatomy.name} alone; remove the other segments and send it again"
            )
        masks[file.mask(segment, sweep)] = _grade(segment.name)
    left_out = tuple(segment.name for segment in file.segments if segment not in chosen)
    return UploadedLabel(masks, False, left_out)


def _grade(name: str) -> int:
    return GRADED if grade_of(name) == "suboptimal" else 1


def _values(masks: np.ndarray) -> list[int]:
    """The values in a stack, without 0."""
    values: set[int] = set()
    for frame in masks:
        if frame.any():
            values |= set(np.flatnonzero(np.bincount(frame.ravel(), minlength=2)).tolist())
    return sorted(values - {0})


def _class_names(classes: Any) -> list[tuple[str, int]]:
    """Names and numbers of the classes that a client names."""
    names = []
    for entry in classes if isinstance(classes, list) else ():
        fields = entry if isinstance(entry, Mapping) else {}
        name, number = fields.get("name"), fields.get("idx")
        if isinstance(name, str) and isinstance(number, int) and name not in NO_CLASSES:
            names.append((name, number))
    return names


def _named_values(
    names: list[tuple[str, int]], values: list[int], anatomy: Anatomy, file: str
) -> tuple[dict[int, int], tuple[str, ...]]:
    """The value in our masks for each value of the anatomy, and the names of the other classes."""
    segments = [Segment(name, 0, number) for name, number in names]
    chosen = anatomy_segments(segments, anatomy, file)
    left_out = tuple(segment.name for segment in segments if segment not in chosen)
    if len(segments) == 1 and len(values) == 1:
        return {values[0]: _grade(chosen[0].name)}, left_out
    if len(segments) == 1 and values == [1, GRADED]:
        return {1: 1, GRADED: GRADED}, left_out
    # 3D Slicer numbers exported segments in their order; MONAI Label's module counts those that it leaves out too
    readings: list[dict[int, int]] = []
    for numbered in ({one.value: one for one in segments}, dict(enumerate(segments, start=1))):
        reading = {value: _grade(one.name) for value, one in numbered.items() if one in chosen and value in values}
        if set(values) <= set(numbered) and reading not in readings:
            readings.append(reading)
    if len(readings) == 1:
        return readings[0], left_out
    raise LabelError(
        f"{file}: holds the values {', '.join(map(str, values))}, which the classes sent with it "
        f"({', '.join(f'{name} {number}' for name, number in names)}) do not explain; send the {anatomy.name} "
        "alone"
    )


def _plain_values(values: list[int], anatomy: Anatomy, file: str) -> dict[int, int]:
    if len(values) == 1 and values[0] > GRADED:
        return {values[0]: 1}
    if values and values[-1] > GRADED:
        raise LabelError(
            f"{file}: holds the values {', '.join(map(str, values[:8]))}, and nothing says which is the "
            f"{anatomy.name}; send a label map of 0 and 1 (2 on a suboptimal plane)"
        )
    return {value: value for value in values}
