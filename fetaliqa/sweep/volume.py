"""An image file opened but not yet read, and the checks all volume formats share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fetaliqa.errors import SweepError
from fetaliqa.sweep.itk_paths import path_for_itk
from fetaliqa.sweep.pixels import Pixels
from fetaliqa.sweep.types import Grid

# Its warnings go to stderr with the full path of the file; what matters of them is checked here
sitk.ProcessObject.SetGlobalWarningDisplay(False)

RANGES_KEY = "SweepRanges"
"""Header field of .mha, .mhd and .nrrd files that gives the sweep ranges, as in ``0:140,140:280``."""

MIN_DETERMINANT = 1e-3  # of the direction cosines: 1 when they are perpendicular, 0 when two coincide


@dataclass(frozen=True)
class OpenImage:
    """What the header of an image says, with the pixels still in the file.

    Attributes:
        pixels: the frames.
        grid: geometry of the file.
        spacing: (row, column) pixel spacing in mm, None when the file carries none.
        ranges: text of the file's ``SweepRanges`` field, if it has one.
    """

    pixels: Pixels
    grid: Grid
    spacing: tuple[float, float] | None
    ranges: str | None = None


def checked_shape(sizes: Sequence[int], name: str) -> tuple[int, int, int]:
    """Return (T, H, W) of an image of ``sizes`` (x, y) or (x, y, frames).

    Raises:
        SweepError: when there are fewer or more dimensions, or an empty one.
    """
    written = " x ".join(str(size) for size in sizes)
    if len(sizes) not in (2, 3):
        raise SweepError(
            f"{name}: {len(sizes)} dimensions ({written}); a sweep has 3 (columns x rows x frames), "
            "a single image 2: export one time series of grey frames"
        )
    if min(sizes) < 1:
        raise SweepError(f"{name}: size {written}; every dimension must hold at least one pixel")
    width, height = sizes[:2]
    return (sizes[2] if len(sizes) == 3 else 1), height, width


def check_spacing(spacing: Sequence[float], name: str) -> None:
    """Refuse spacing that is not positive and finite.

    Raises:
        SweepError: naming the values.
    """
    if not all(math.isfinite(value) and value > 0 for value in spacing):
        written = " x ".join(f"{value:g}" for value in spacing)
        raise SweepError(
            f"{name}: pixel spacing {written} mm; spacing must be positive, correct the file's header"
        )


def read_grid(path: Path, image_io: str, shape: tuple[int, int, int]) -> Grid:
    """Return the geometry of a file as SimpleITK sees it; its pixels are not read.

    Args:
        path: the file.
        image_io: name of SimpleITK's reader, which would otherwise go by the file's suffix.
        shape: (T, H, W) by our reading of the header, which must agree.

    Raises:
        SweepError: when SimpleITK cannot read the header or disagrees about the size.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    try:
        with path_for_itk(path) as given:
            reader.SetFileName(given)
            reader.ReadImageInformation()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].split("): ")[-1].replace(str(path), path.name)
        raise SweepError(f"{path.name}: its header cannot be used ({reason}); export the file again") from None
    size = tuple(reader.GetSize())
    if len(size) not in (2, 3) or size[:2] != (shape[2], shape[1]) or (*size, 1)[2] != shape[0]:
        raise SweepError(
            f"{path.name}: its header is ambiguous ({shape[0]} frames of {shape[1]} x {shape[2]}, or {size}); "
            "export it with the axes columns, rows, frames"
        )
    spacing, origin, direction = reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection()
    axes = np.reshape(direction, (len(size), len(size)))
    if not np.isfinite([*origin, *direction]).all() or abs(np.linalg.det(axes)) < MIN_DETERMINANT:
        raise SweepError(
            f"{path.name}: its axes do not span space (direction {direction}); correct the file's header"
        )
    if len(size) == 2:
        a, b, c, d = direction
        return Grid((*spacing, 1.0), (*origin, 0.0), (a, b, 0.0, c, d, 0.0, 0.0, 0.0, 1.0), dimensions=2)
    return Grid(spacing, origin, direction)


def data_file_beside(header: Path, written: str) -> Path:
    """Return the path of a data file that a header names, which must lie in or below the header's folder.

    Raises:
        SweepError: when it lies elsewhere or does not exist.
    """
    folder = header.parent.resolve()
    try:
        path = (folder / written).resolve()
    except ValueError:  # a zero byte in the name
        raise SweepError(
            f"{header.name}: names its pixel file as {written!r}; correct the file's header"
        ) from None
    if not path.is_relative_to(folder):
        raise SweepError(
            f"{header.name}: names its pixel file as {written!r}, outside of its own folder; "
            "put both files into one folder"
        )
    if not path.is_file():
        raise SweepError(f"{header.name}: its pixel file {written!r} does not exist; keep both files together")
    return path
