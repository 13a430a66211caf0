"""Image and mask files as arrays; what is sent lies on the grid of the file that was received, exactly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from FetalIQALib.failures import BadReply, FileFailure
from FetalIQALib.masks import Mask
from FetalIQALib.texts import _

MAX_BYTES = 4 << 30  # of a decoded stack; an ACOUSLIC-AI case has 0.35 GB


@dataclass(frozen=True)
class Grid:
    """Where pixels lie (LPS, as files have it): size and spacing in the order x, y, frame.

    Attributes:
        spaced: whether the spacing is in mm; None where nobody says so, as in a file of 1 × 1.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    spaced: bool | None = None


@dataclass(frozen=True)
class Stack:
    """A case's frames.

    Attributes:
        frames: uint8 [T, H, W], grey; for showing. Other pixel types are scaled to it.
        grid: the server's, which knows calibrations that SimpleITK does not; of the file before it says so.
        fingerprint: SHA-256 (hex) of the frames, which tells whether kept work belongs to them.
    """

    frames: np.ndarray
    grid: Grid
    fingerprint: str

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Row and column spacing in mm; None where the file says nothing (which is read as 1 × 1)."""
        column, row = self.grid.spacing[:2]
        spaced = (row, column) != (1.0, 1.0) if self.grid.spaced is None else self.grid.spaced
        return (row, column) if spaced else None


def _sitk() -> Any:
    try:
        import SimpleITK
    except ImportError:
        raise FileFailure(
            _("This Slicer comes without SimpleITK, which reads the image files; use an official build.")
        ) from None
    return SimpleITK


def _opened(path: Path) -> Any:
    """The file as a SimpleITK image of 2 or 3 dimensions.

    Raises:
        BadReply: when it cannot be read, is too large, or has another number of dimensions.
    """
    sitk = _sitk()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        values = int(np.prod(size, dtype=object)) * reader.GetNumberOfComponents()
        if values > MAX_BYTES:
            raise BadReply(
                _("The image has {size} pixels; more than 4 GiB cannot be loaded.").format(size=_times(size))
            )
        image = reader.Execute()
    except RuntimeError:
        raise BadReply(
            _("The file that the server sent is no image that can be read; nothing was changed.")
        ) from None
    if image.GetDimension() == 4 and image.GetSize()[2] == 1:
        image = _stack_of_slices(image)
    if image.GetDimension() not in (2, 3):
        raise BadReply(
            _("The image has {count} dimensions; 2 or 3 are needed.").format(count=image.GetDimension())
        )
    return image


def _stack_of_slices(image: Any) -> Any:
    """A time series of one slice, with four axes, as a stack of frames; where the slice lies stays."""
    sitk = _sitk()
    stack = sitk.GetImageFromArray(sitk.GetArrayFromImage(image)[:, 0])
    direction = np.reshape(image.GetDirection(), (4, 4))[:3, :3]
    stack.SetSpacing(image.GetSpacing()[:3])
    stack.SetOrigin(image.GetOrigin()[:3])
    stack.SetDirection([float(value) for value in direction.ravel()])
    return stack


def read_stack(path: Path, grid: Grid | None = None) -> Stack:
    """Read an image file.

    Args:
        path: the file.
        grid: where the server says that it lies; None when it says nothing.

    Raises:
        BadReply: when it is none, or has another size than the server says.
    """
    image = _opened(path)
    array = _sitk().GetArrayFromImage(image)
    channels = image.GetNumberOfComponentsPerPixel()
    if channels not in (1, 3, 4):  # such as the frames of a sequence, which ITK takes for values of one pixel
        raise BadReply(_("The image has {count} values in each pixel; it is not shown.").format(count=channels))
    if channels > 1:
        array = array[..., :3].mean(axis=-1)
    if array.ndim == 2:
        array = array[None]
    frames = np.ascontiguousarray(_grey(array))
    digest = hashlib.sha256(repr(frames.shape).encode())
    digest.update(frames.data)
    if grid is None:
        grid = grid_of(image)
    elif grid.size != frames.shape[::-1]:
        raise BadReply(
            _("The image has {found} pixels, and the server says {told}; nothing of it is shown.").format(
                found=_times(frames.shape[::-1]), told=_times(grid.size)
            )
        )
    return Stack(frames, grid, digest.hexdigest())


def told_grid(text: str | None) -> Grid | None:
    """The grid that the server sends with an image, in the header ``fetaliqa-grid``; None without one.

    Raises:
        BadReply: when it has another form than expected.
    """
    if text is None:
        return None
    try:
        told = json.loads(text)
        size = tuple(int(length) for length in told["size"])
        parts = [tuple(float(value) for value in told[key]) for key in ("spacing", "origin", "direction")]
        spacing, origin, direction = parts
        usable = (len(size), *map(len, parts)) == (3, 3, 3, 9) and min(spacing) > 0
        spaced = told["spacing_mm"] is not None
    except (ValueError, KeyError, TypeError):
        usable = False
    if not usable:
        raise BadReply(
            _("The server's answer about {what} has another form than expected.").format(what="the grid")
        )
    return Grid(size, spacing, origin, direction, spaced)


def grid_of(image: Any) -> Grid:
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
    """The masks of a file by frame number; frames without foreground are left out.

    Args:
        path: file with integers, foreground not 0.
        shape: frames, rows and columns that it must have.

    Raises:
        BadReply: when it cannot be read, or has another size.
    """
    array = _sitk().GetArrayFromImage(_opened(path))
    if array.ndim == 2:
        array = array[None]
    if array.shape != shape:
        raise BadReply(
            _("The masks have {masks} pixels, the image has {image}; nothing was changed.").format(
                masks=_times(array.shape), image=_times(shape)
            )
        )
    found = {int(frame): Mask.of(array[frame]) for frame in np.flatnonzero(array.any(axis=(1, 2)))}
    return {frame: mask for frame, mask in found.items() if mask is not None}


def write_masks(path: Path, masks: Mapping[int, Mask], grid: Grid) -> None:
    """Write masks as one compressed stack on the grid of the image, uint8 of 0 and 1.

    Raises:
        FileFailure: when the disk does not take it.
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
        raise FileFailure(
            _("The masks cannot be written to {path}; is the disk full?").format(path=path)
        ) from None


def _times(size: tuple[int, ...]) -> str:
    return " × ".join(str(side) for side in size)
