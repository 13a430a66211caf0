"""An image file opened but not yet read, and the checks all volume formats share."""

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

# Its warnings go to stderr with the full path of the file; what matters of them is checked here
sitk.ProcessObject.SetGlobalWarningDisplay(False)

RANGES_KEY = "SweepRanges"
"""Header field of .mha, .mhd and .nrrd files that gives the sweep ranges, as in ``0:140,140:280``."""

NO_SPACING_NOTE = "no pixel spacing in the file: no measurement in mm"
UNIT_SPACING_NOTE = (
    "pixel spacing of exactly 1 x 1 mm, which programs also write where they know none: check it before using mm"
)
SPACING_MM = (1e-3, 100.0)
"""Smallest and largest pixel spacing that a frame can have: from ultrasound microscopes to thumbnails. What lies
outside is a spacing in another unit than the file says."""

_IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Folder in memory (Linux) for the headers that SimpleITK is given: a full disk keeps nobody from reading."""

MIN_DETERMINANT = 1e-3  # of the direction cosines: 1 when they are perpendicular, 0 when two coincide


@dataclass(frozen=True)
class OpenImage:
    """What the header of an image says, with the pixels still in the file.

    Attributes:
        pixels: the frames.
        grid: geometry of the file.
        spacing: (row, column) pixel spacing in mm, None when the file carries none.
        ranges: text of the file's ``SweepRanges`` field, if it has one.
        notes: what the header left open or says in two ways, and what was decided; one sentence each.
    """

    pixels: Pixels
    grid: Grid
    spacing: tuple[float, float] | None
    ranges: str | None = None
    notes: tuple[str, ...] = ()


def check_spacing(spacing: Sequence[float], name: str) -> None:
    """Refuse spacing that is not positive and finite.

    Raises:
        SweepError: naming the values.
    """
    if not all(math.isfinite(value) and value > 0 for value in spacing):
        raise SweepError(
            f"{name}: pixel spacing {_written(spacing)} mm; spacing must be positive, correct the file's header"
        )


def check_frame_spacing(spacing: tuple[float, float], name: str) -> tuple[float, float]:
    """Return the (row, column) spacing of frames in mm; refuse what no ultrasound image has.

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
    """Return the geometry that SimpleITK, and so 3D Slicer, makes of a header.

    It is given the checked part of the header alone, in a file of its own: SimpleITK follows names in a header to
    other files, ends the process at some of them, and goes by the suffix for what is compressed.

    Args:
        header: of an uncompressed file of ``sizes``.
        suffix: of such files.
        image_io: name of SimpleITK's reader.
        sizes: along the axes of the header: 2, 3 or 4.
        layout: which axes those are.
        name: the file, for messages.

    Raises:
        SweepError: when SimpleITK cannot read the header, or sees other sizes in it.
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
