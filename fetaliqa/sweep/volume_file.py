"""Opened image files before their pixels are read, and checks shared by all volume formats."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fetaliqa.atomic import why_not_written
from fetaliqa.errors import StorageError, SweepError
from fetaliqa.sweep.pixel_conversion import Pixels
from fetaliqa.sweep.sweep_types import Grid
from fetaliqa.sweep.volume_axes import Layout, times

# SimpleITK's warnings show full paths on stderr; relevant problems are checked here
sitk.ProcessObject.SetGlobalWarningDisplay(False)

RANGES_KEY = "SweepRanges"
"""Header field of .mha, .mhd and .nrrd files with the sweep ranges, as in ``0:140,140:280``."""

NO_SPACING_NOTE = "no pixel spacing in the file: no measurement in mm"
UNIT_SPACING_NOTE = (
    "pixel spacing of exactly 1 x 1 mm, which may stand for an unknown spacing: check it before using mm"
)
SPACING_MM = (1e-3, 100.0)
"""Smallest and largest plausible pixel spacing: from ultrasound microscopes to thumbnails. Values outside are in
another unit than the file states."""

_IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Folder in memory (Linux) for headers passed to SimpleITK, so that reading does not depend on free disk space."""

MIN_DETERMINANT = 1e-3  # of the direction cosines: 1 when they are perpendicular, 0 when two coincide


@dataclass(frozen=True)
class OpenImage:
    """The header of an image, with its pixels not yet read.

    Attributes:
        pixels: the frames.
        grid: geometry of the file.
        spacing: (row, column) pixel spacing in mm; None when the file has none.
        ranges: text of the file's ``SweepRanges`` field, if any.
        notes: notes for the user on ambiguous headers, one sentence each.
    """

    pixels: Pixels
    grid: Grid
    spacing: tuple[float, float] | None
    ranges: str | None = None
    notes: tuple[str, ...] = ()


def check_spacing(spacing: Sequence[float], name: str) -> None:
    """Check that spacing is positive and finite.

    Raises:
        SweepError: naming the values.
    """
    if not all(math.isfinite(value) and value > 0 for value in spacing):
        raise SweepError(
            f"{name}: pixel spacing {_written(spacing)} mm; spacing must be positive, correct the file's header"
        )


def check_frame_spacing(spacing: tuple[float, float], name: str) -> tuple[float, float]:
    """Check that the (row, column) spacing of frames in mm is plausible, and return it.

    Raises:
        SweepError: naming the values.
    """
    check_spacing(spacing, name)
    smallest, largest = SPACING_MM
    if not all(smallest <= value <= largest for value in spacing):
        raise SweepError(
            f"{name}: pixel spacing {_written(spacing)} mm; no ultrasound image has that "
            f"({smallest:g} to {largest:g} mm): correct the spacing, or its unit, in the file's header"
        )
    return spacing


def _written(spacing: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in spacing)


def read_grid(header: bytes, suffix: str, image_io: str, sizes: Sequence[int], layout: Layout, name: str) -> Grid:
    """Return the geometry that SimpleITK, and so 3D Slicer, reads from a header.

    Only the checked part of the header is passed, in a file of its own: SimpleITK opens other files that a header
    names, terminates the process for some of them, and infers compression from the suffix.

    Args:
        header: header of an uncompressed file of ``sizes``.
        suffix: suffix of such files.
        image_io: name of SimpleITK's reader.
        sizes: sizes of the 2, 3 or 4 axes in the header.
        layout: layout of the axes.
        name: the file, for messages.

    Raises:
        SweepError: when SimpleITK cannot read the header, or reads other sizes from it.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    try:
        with tempfile.TemporaryDirectory(prefix="fetaliqa-", dir=_IN_MEMORY) as folder:
            path = Path(folder) / f"header{suffix}"
            path.write_bytes(header)
            reader.SetFileName(str(path))
            try:
                reader.ReadImageInformation()
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1].split("): ")[-1].replace(str(path), name)
                raise SweepError(f"{name}: its header cannot be used ({reason}); export the file again") from None
    except OSError as problem:
        raise StorageError(f"{name}: its header cannot be read: {why_not_written(problem, 'read it')}") from None
    size = tuple(reader.GetSize())
    if size != tuple(sizes):
        raise SweepError(
            f"{name}: its header is ambiguous (size {times(sizes)}, or {times(size)}); "
            "export it with the axes columns, rows, frames"
        )
    spacing, origin, direction = reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection()
    axes = np.reshape(direction, (len(size), len(size)))
    if not np.isfinite([*spacing, *origin, *direction]).all() or abs(np.linalg.det(axes)) < MIN_DETERMINANT:
        raise SweepError(f"{name}: its axes do not span space (direction {direction}); correct the file's header")
    if len(size) == 2:
        a, b, c, d = direction
        return Grid((*spacing, 1.0), (*origin, 0.0), (a, b, 0.0, c, d, 0.0, 0.0, 0.0, 1.0), dimensions=2)
    if len(size) == 4 and (axes[3, :3].any() or axes[:3, 3].any()):
        raise SweepError(f"{name}: its axes mix space and time (direction {direction}); correct the file's header")
    cosines = tuple(float(value) for value in axes[:3, :3].ravel())
    grid = Grid(spacing[:3], origin[:3], cosines, dimensions=layout.dimensions)  # type: ignore[arg-type]
    if layout.dimensions == 4 and len(size) == 4:
        return replace(grid, frame_spacing=spacing[3], frame_origin=origin[3])
    return grid
