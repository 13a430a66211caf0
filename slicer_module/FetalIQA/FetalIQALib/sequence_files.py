"""Sequences of 3D Slicer (``.seq.nrrd``): written from arrays, and arrays of sequence nodes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from FetalIQALib.client_errors import FetalIQAError, FileError, RequestCanceled
from FetalIQALib.frame_masks import Mask
from FetalIQALib.http_client import Cancel
from FetalIQALib.png_export import atomic_path, unused_path
from FetalIQALib.sweep_data import Sweep
from FetalIQALib.translation import _

TYPES = {"uint8": "uchar", "int16": "short", "uint16": "ushort", "float32": "float"}  # of NRRD
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as the server reads colours


def write_sequence(path: Path, frames: np.ndarray, spacing_mm: tuple[float, float] | None) -> None:
    """Write frames as a sequence that both 3D Slicer and the server read.

    Args:
        path: of the file, ``.seq.nrrd``.
        frames: [T, H, W]; uint8, int16, uint16 or float32.
        spacing_mm: of rows and columns. None: unknown, which the file says with spacings without a unit; 3D Slicer
            shows such frames with 1 mm.

    Raises:
        FileError: if the file cannot be written.
    """
    count, rows, columns = frames.shape
    header = [
        "NRRD0004",
        f"type: {TYPES[frames.dtype.name]}",
        "dimension: 4",
        f"sizes: {columns} {rows} 1 {count}",
        "kinds: domain domain domain list",
        "encoding: gzip",
        *(["endian: little"] if frames.dtype.itemsize > 1 else []),
    ]
    if spacing_mm is None:
        header.append("spacings: 1 1 1 nan")
    else:
        row, column = spacing_mm
        header += [
            "space: left-posterior-superior",
            f"space directions: ({column!r},0,0) (0,{row!r},0) (0,0,1) none",
            "space origin: (0,0,0)",
        ]
    pixels = np.ascontiguousarray(frames.astype(frames.dtype.newbyteorder("<"), copy=False))
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    try:
        with open(path, "wb") as file:
            file.write("\n".join([*header, "", ""]).encode("ascii"))
            for frame in pixels:
                file.write(packer.compress(frame.tobytes()))
            file.write(packer.flush())
    except OSError as problem:
        raise FileError(
            _("The sequence cannot be written to {path} ({reason}).").format(path=path, reason=problem.strerror)
        ) from problem


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
    from vtk.util import numpy_support

    rows, columns, channels = shape
    values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, channels)
    if channels > 1:
        luma = values[..., :3].astype(np.float32) @ LUMA
        return luma.round().astype(values.dtype) if values.dtype.kind in "iu" else luma
    frame = values[..., 0]
    return frame.copy() if frame.dtype.name in TYPES else frame.astype(np.float32)


def export_sequence(sweep: Sweep, masks: Mapping[int, Mask], folder: Path, cancel: Cancel) -> Path:
    """Write frames and masks of a case as two sequences to a new folder in ``folder``; runs in a task's thread.

    Returns:
        The new folder.

    Raises:
        FileError: if the files cannot be written; nothing is left behind.
    """
    target = unused_path(folder, f"{sweep.case}-sequence")
    stack = np.zeros((sweep.count, *sweep.shape), np.uint8)
    for number, mask in masks.items():
        mask.paint(stack[number])
    with atomic_path(target) as temporary:
        temporary.mkdir()
        for name, pixels in ((sweep.case, sweep.stack.frames), (f"{sweep.case}-masks", stack)):
            if cancel.is_set():
                raise RequestCanceled(_("Canceled; nothing was saved."))
            write_sequence(temporary / f"{name}.seq.nrrd", pixels, sweep.spacing_mm)
    return target
