"""Reading and writing of mask stacks on the grid of their sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fetaliqa.errors import ArrayError, OptionError, SweepError
from fetaliqa.sweep.image_orientation import UPRIGHT, stored_shape, upright
from fetaliqa.sweep.label_orientation import orientations, says_orientation
from fetaliqa.sweep.mask_files import write_frames
from fetaliqa.sweep.pixel_conversion import to_labels
from fetaliqa.sweep.sweep_reader import open_image, sweep_suffix
from fetaliqa.sweep.sweep_types import Grid, Sweep
from fetaliqa.sweep.volume_file import OpenImage

MASK_SUFFIXES = (".mha", ".nii.gz", ".nrrd")
"""Formats in which masks can be written."""

SPACING_TOLERANCE = 1e-4
"""Relative. NIfTI stores spacing as 32-bit floats (1e-7); some exporters write four to five digits."""

ORIGIN_TOLERANCE = 1e-2
"""In pixels of the sweep."""

DIRECTION_TOLERANCE = 1e-4
"""Largest difference between direction cosines: 0.006 degrees."""


ORIENTATION_TOLERANCE = 0.05
"""Largest difference between direction cosines for labels compared by size: 3 degrees. A larger difference is
another orientation, such as a flipped axis, not rounding."""


def write_masks(path: str | Path, masks: np.ndarray, sweep: Sweep) -> None:
    """Write a mask stack on the sweep's own grid: same size, spacing, origin and direction; compressed.

    The file is written atomically. For a sweep read from a 2D image the mask is a 2D image.

    Parameters
    ----------
    path
        A .mha, .nii.gz or .nrrd file in a folder that exists; a file that is there is replaced.
    masks
        uint8 [T, H, W]: 0 background, other values labels.
    sweep
        What the masks belong to.

    Raises
    ------
    OptionError
        When the suffix is none of ``.mha``, ``.nii.gz`` and ``.nrrd``.
    ArrayError
        When ``masks`` has another type, or another shape than the sweep's frames.

    Examples
    --------
    >>> import numpy, tempfile, fetaliqa
    >>> sweep = fetaliqa.read_sweep("sample-data/images/stacked_fetal_ultrasound/patient013_MWI_plane0.png")
    >>> masks = (sweep.frames > 200).astype("uint8")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fetaliqa.write_masks(f"{folder}/bright.nii.gz", masks, sweep)
    ...     numpy.array_equal(fetaliqa.read_masks(f"{folder}/bright.nii.gz", sweep), masks)
    True
    """
    path = Path(path)
    if sweep_suffix(path) not in MASK_SUFFIXES:
        raise OptionError(f"{path.name}: masks can be written as {', '.join(MASK_SUFFIXES)}; choose one of these")
    masks = np.asarray(masks)
    if masks.dtype != np.uint8 or masks.shape != sweep.shape:
        raise ArrayError(
            f"masks of type {masks.dtype} and shape {masks.shape}; expected uint8 {sweep.shape}, the shape of the "
            f"frames of {sweep.case_id}"
        )
    frames = (frame if frame.any() else None for frame in masks)
    write_frames(path, sweep.shape, sweep.grid, frames)


def _written(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value + 0.0:g}" for value in values) + ")"


def _difference(masks: Grid, sweep: Grid) -> str | None:
    """Description of a difference between two grids beyond the tolerances; a third axis only if both have one."""
    axes = 2 if 2 in (masks.dimensions, sweep.dimensions) else 3
    steps = axes if masks.dimensions == sweep.dimensions else 2  # the third is then between frames in one of them
    ours, theirs = np.asarray(sweep.spacing[:steps]), np.asarray(masks.spacing[:steps])
    if (abs(theirs / ours - 1) > SPACING_TOLERANCE).any():
        return f"spacing {_written(theirs)} mm, the sweep's is {_written(ours)}"
    origin, other = np.asarray(sweep.origin[:axes]), np.asarray(masks.origin[:axes])
    if (abs(other - origin) > ORIGIN_TOLERANCE * ours.min()).any():
        return f"origin {_written(other)} mm, the sweep's is {_written(origin)}"
    direction, turned = _axes(sweep.direction, axes), _axes(masks.direction, axes)
    if (abs(turned - direction) > DIRECTION_TOLERANCE).any():
        return f"direction {_written(turned.ravel())}, the sweep's is {_written(direction.ravel())}"
    return None


def _axes(direction: Sequence[float], count: int) -> np.ndarray:
    return np.asarray(direction).reshape(3, 3)[:count, :count]


def lies_on_grid(path: str | Path, sweep: Sweep) -> bool:
    """Whether a mask file has the geometry of the sweep's own grid within the tolerances above."""
    grid = open_image(Path(path)).grid
    return grid.dimensions == sweep.grid.dimensions and _difference(grid, sweep.grid) is None


def orientation_conflict(path: Path, grid: Grid, sweep: Sweep) -> str | None:
    """Description of a contradiction between the orientations of a label file and its sweep; None without one.

    Args:
        path: the label file.
        grid: its geometry.
        sweep: the sweep that it belongs to.
    """
    if not says_orientation(path):
        return None
    axes = 2 if 2 in (grid.dimensions, sweep.grid.dimensions) else 3
    stated = _axes(grid.direction, axes)
    directions = [_axes(direction, axes) for direction in orientations(sweep)]
    if not directions or any((abs(stated - each) <= ORIENTATION_TOLERANCE).all() for each in directions):
        return None
    return f"direction {_written(stated.ravel())}, the sweep's is {_written(directions[0].ravel())}"


def read_masks(path: str | Path, sweep: Sweep, *, by_size: bool = False) -> np.ndarray:
    """Read a mask stack that belongs to ``sweep``.

    The size must equal the sweep's; spacing, origin and direction too (within the tolerances above) if the sweep
    has a spacing, since otherwise its file has no geometry to compare with.

    Parameters
    ----------
    path
        The file, of any format that ``read_sweep`` reads.
    sweep
        What the masks belong to.
    by_size
        Take spacing and origin from the sweep, whatever the file says, and only refuse another size or
        orientation. For labels of people: other programs read other spacings from the same image, such as
        1 x 1 mm from a DICOM cine whose calibration lies in its ultrasound regions.

    Returns
    -------
    numpy.ndarray
        uint8 [T, H, W] labels.

    Raises
    ------
    NotFoundError
        When there is no such file.
    SweepError
        When it cannot be read, lies on another grid, is in colour, or its values are no labels.
    """
    path = Path(path)
    image = open_image(path)
    exif = _turn(image, sweep)
    if stored_shape(image.pixels.shape, exif) != sweep.shape:
        ours, theirs = (
            f"{count} frames of {height} x {width}" for count, height, width in (sweep.shape, image.pixels.shape)
        )
        raise SweepError(
            f"{path.name}: size {theirs}, but {sweep.case_id} has {ours}; export the mask on its grid"
        )
    difference = None
    if by_size:
        difference = orientation_conflict(path, image.grid, sweep)
    elif sweep.spacing is not None:
        difference = _difference(image.grid, sweep.grid)
    if difference is not None:
        raise SweepError(f"{path.name}: {difference}; export the mask on the grid of {sweep.case_id}")
    labels = to_labels(image.pixels, path.name)
    return labels if exif == UPRIGHT else np.ascontiguousarray(upright(labels, exif))


def _turn(image: OpenImage, sweep: Sweep) -> int:
    """EXIF orientation by which masks are turned upright: that of their still, unless they are upright already."""
    exif = sweep.grid.exif
    drawn_upright = image.pixels.shape == sweep.shape != stored_shape(sweep.shape, exif)
    return UPRIGHT if image.grid.exif == exif or drawn_upright else exif
