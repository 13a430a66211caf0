"""Reading of images and masks as arrays; masks are written on exactly the grid of the received image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from FetalIQALib.client_errors import FileError, InvalidResponse
from FetalIQALib.frame_masks import Mask
from FetalIQALib.translation import _

MAX_BYTES = 4 << 30  # of a decoded stack; an ACOUSLIC-AI case has 0.35 GB


@dataclass(frozen=True)
class Grid:
    """Image grid in LPS coordinates; size and spacing in the order x, y, frame.

    Attributes:
        spaced: whether the spacing is in mm; None if unknown.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    spaced: bool | None = None


@dataclass(frozen=True)
class FrameStack:
    """A case's frames.

    Attributes:
        frames: uint8 [T, H, W], grey, for display; other pixel types are rescaled.
        grid: the server's, which reads calibrations that SimpleITK does not; else the file's.
        fingerprint: SHA-256 (hex) of the frames, to match saved work.
    """

    frames: np.ndarray
    grid: Grid
    fingerprint: str

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Row and column spacing in mm; None if the file has none (read as 1 × 1)."""
        column, row = self.grid.spacing[:2]
        spaced = (row, column) != (1.0, 1.0) if self.grid.spaced is None else self.grid.spaced
        return (row, column) if spaced else None


def _sitk() -> Any:
    try:
        import SimpleITK
    except ImportError:
        raise FileError(
            _("This Slicer comes without SimpleITK, which reads the image files; use an official build.")
        ) from None
    return SimpleITK


def _read_image(path: Path) -> Any:
    """Read a file as a SimpleITK image of 2 or 3 dimensions.

    Raises:
        InvalidResponse: if it cannot be read, is too large, or has another number of dimensions.
    """
    sitk = _sitk()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        values = int(np.prod(size, dtype=object)) * reader.GetNumberOfComponents()
        if values > MAX_BYTES:
            raise InvalidResponse(
                _("The image has {size} pixels; more than 4 GiB cannot be loaded.").format(size=_times(size))
            )
        image = reader.Execute()
    except RuntimeError:
        raise InvalidResponse(_("The image file from the server cannot be read; nothing was changed.")) from None
    if image.GetDimension() == 4 and image.GetSize()[2] == 1:
        image = _stack_of_slices(image)
    if image.GetDimension() not in (2, 3):
        raise InvalidResponse(
            _("The image has {count} dimensions; 2 or 3 are needed.").format(count=image.GetDimension())
        )
    return image


def _stack_of_slices(image: Any) -> Any:
    """Convert a time series of one slice (four axes) to a stack of frames, keeping its position."""
    sitk = _sitk()
    stack = sitk.GetImageFromArray(sitk.GetArrayFromImage(image)[:, 0])
    direction = np.reshape(image.GetDirection(), (4, 4))[:3, :3]
    stack.SetSpacing(image.GetSpacing()[:3])
    stack.SetOrigin(image.GetOrigin()[:3])
    stack.SetDirection([float(value) for value in direction.ravel()])
    return stack


def read_stack(path: Path, grid: Grid | None = None) -> FrameStack:
    """Read an image file.

    Args:
        path: the file.
        grid: of the server; None if the server sent none.

    Raises:
        InvalidResponse: if it is not an image, or its size differs from the server's grid.
    """
    image = _read_image(path)
    array = _sitk().GetArrayFromImage(image)
    channels = image.GetNumberOfComponentsPerPixel()
    if channels not in (1, 3, 4):  # such as sequences, whose frames ITK reads as channels
        raise InvalidResponse(
            _("The image has {count} channels (1, 3 or 4 are supported); it is not shown.").format(count=channels)
        )
    if channels > 1:
        array = array[..., :3].mean(axis=-1)
    if array.ndim == 2:
        array = array[None]
    frames = np.ascontiguousarray(_grey(array))
    digest = hashlib.sha256(repr(frames.shape).encode())
    digest.update(frames.data)
    if grid is None:
        grid = image_grid(image)
    elif grid.size != frames.shape[::-1]:
        raise InvalidResponse(
            _("The image has {actual} pixels, the server states {expected}; it is not shown.").format(
                actual=_times(frames.shape[::-1]), expected=_times(grid.size)
            )
        )
    return FrameStack(frames, grid, digest.hexdigest())


def grid_from_header(text: str | None) -> Grid | None:
    """Parse the header ``fetaliqa-grid``, the server's grid of an image; None without the header.

    Raises:
        InvalidResponse: if it is malformed.
    """
    if text is None:
        return None
    try:
        header = json.loads(text)
        size = tuple(int(length) for length in header["size"])
        parts = [tuple(float(value) for value in header[key]) for key in ("spacing", "origin", "direction")]
        spacing, origin, direction = parts
        valid = (len(size), *map(len, parts)) == (3, 3, 3, 9) and min(spacing) > 0
        spaced = header["spacing_mm"] is not None
    except (ValueError, KeyError, TypeError):
        valid = False
    if not valid:
        raise InvalidResponse(
            _("The server's response about {what} has an unexpected format.").format(what="the grid")
        )
    return Grid(size, spacing, origin, direction, spaced)


def image_grid(image: Any) -> Grid:
    """The grid of a SimpleITK image."""
    return Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def _grey(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    values = np.nan_to_num(array.astype(np.float32))
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 255:
        return values.round().astype(np.uint8)
    return ((values - low) * (255.0 / max(high - low, 1e-6))).round().astype(np.uint8)


def read_masks(path: Path, shape: tuple[int, int, int]) -> dict[int, Mask]:
    """Read masks by frame number; frames without foreground are left out.

    Args:
        path: file of integers, foreground not 0.
        shape: expected number of frames, rows and columns.

    Raises:
        InvalidResponse: if it cannot be read, or has another size.
    """
    array = _sitk().GetArrayFromImage(_read_image(path))
    if array.ndim == 2:
        array = array[None]
    if array.shape != shape:
        raise InvalidResponse(
            _("The masks have {masks} pixels, the image has {image}; nothing was changed.").format(
                masks=_times(array.shape), image=_times(shape)
            )
        )
    masks = {int(frame): Mask.of(array[frame]) for frame in np.flatnonzero(array.any(axis=(1, 2)))}
    return {frame: mask for frame, mask in masks.items() if mask is not None}


def write_masks(path: Path, masks: Mapping[int, Mask], grid: Grid) -> None:
    """Write masks as one compressed stack on the grid of the image, uint8 of 0 and 1.

    Raises:
        FileError: if the file cannot be written.
    """
    sitk = _sitk()
    columns, rows = grid.size[:2]
    frames = grid.size[2] if len(grid.size) == 3 else 1
    array = np.zeros((frames, rows, columns), np.uint8)
    for frame, mask in masks.items():
        mask.paint(array[frame])
    image = sitk.GetImageFromArray(array if len(grid.size) == 3 else array[0])
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError:
        raise FileError(_("The masks cannot be written to {path}; is the disk full?").format(path=path)) from None


def _times(size: tuple[int, ...]) -> str:
    return " × ".join(str(side) for side in size)
