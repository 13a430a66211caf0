"""Frames of sequence nodes of the scene."""

from __future__ import annotations

from typing import Any

import numpy as np
from vtk.util import numpy_support

from FetalIQALib.client_errors import FetalIQAError
from FetalIQALib.sequence_files import TYPES
from FetalIQALib.translation import _

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as the server reads colours


def frames_of(node: Any) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Frames [T, H, W] of a ``vtkMRMLSequenceNode`` of images, and the spacing of rows and columns in mm.

    Colours are reduced to luma. A spacing of exactly 1 × 1 mm is taken for unknown: Slicer has it where a file had
    none.

    Raises:
        FetalIQAError: if its items are not images of one slice and one size.
    """
    frames, spacings = [], set()
    for number in range(node.GetNumberOfDataNodes()):
        volume = node.GetNthDataNode(number)
        image = volume.GetImageData() if hasattr(volume, "GetImageData") else None
        if image is None or image.GetPointData().GetScalars() is None:
            raise FetalIQAError(
                _("Item {number} of sequence {name} is not an image.").format(number=number, name=node.GetName())
            )
        columns, rows, slices = image.GetDimensions()
        channels = image.GetNumberOfScalarComponents()
        if slices != 1 or channels not in (1, 3, 4):
            raise FetalIQAError(
                _(
                    "Item {number} of sequence {name} has {slices} slices and {channels} values per pixel; "
                    "a sweep has one slice, grey or colour."
                ).format(number=number, name=node.GetName(), slices=slices, channels=channels)
            )
        frames.append(_grey(image, (rows, columns, channels)))
        spacings.add(tuple(round(side, 6) for side in volume.GetSpacing()[:2]))
    if not frames:
        raise FetalIQAError(_("Sequence {name} has no items.").format(name=node.GetName()))
    if len({(frame.shape, frame.dtype) for frame in frames}) > 1 or len(spacings) > 1:
        raise FetalIQAError(
            _(
                "The items of sequence {name} differ in size, type or spacing; they are not frames of one sweep."
            ).format(name=node.GetName())
        )
    column, row = spacings.pop()
    return np.stack(frames), None if (row, column) == (1.0, 1.0) else (row, column)


def _grey(image: Any, shape: tuple[int, int, int]) -> np.ndarray:
    rows, columns, channels = shape
    values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, channels)
    if channels > 1:
        luma = values[..., :3].astype(np.float32) @ LUMA
        return luma.round().astype(values.dtype) if values.dtype.kind in "iu" else luma
    frame = values[..., 0]
    return frame.copy() if frame.dtype.name in TYPES else frame.astype(np.float32)
