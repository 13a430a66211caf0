"""Mask stacks on the grid of the sweep they belong to."""

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
"""Formats masks can be written in."""

SPACING_TOLERANCE = 1e-4
"""Relative. NIfTI keeps spacing as 32-bit floats (1e-7), some exporters write four to five digits."""

ORIGIN_TOLERANCE = 1e-2
"""In pixels of the sweep."""

DIRECTION_TOLERANCE = 1e-4
"""Largest difference between direction cosines: 0.006 degrees."""


ORIENTATION_TOLERANCE = 0.05
"""Largest difference between direction cosines of a label that is told by its size: 3 degrees. What differs by
more is another orientation, such as a flipped axis, and no rounding."""


def write_masks(path: str | Path, masks: np.ndarray, sweep: Sweep) -> None:
    """Write a mask stack on the sweep's own grid: same size, spacing, origin and direction; compressed.

    The file appears complete or not at all. For a sweep read from a plane image the mask is a plane image.

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
    """What differs between two grids beyond the tolerances, in words; a third axis only if both have it."""
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
    """Whether a mask file has the geometry of the sweep's own grid, all of it, within the tolerances above."""
    grid = open_image(Path(path)).grid
    return grid.dimensions == sweep.grid.dimensions and _difference(grid, sweep.grid) is None


def orientation_conflict(path: Path, grid: Grid, sweep: Sweep) -> str | None:
    """How the orientation that a label's file states contradicts its sweep, in words; None when it does not.

    Args:
        path: the label's file.
        grid: where it says that it lies.
        sweep: what it belongs to.
    """
    if not says_orientation(path):
        return None
    axes = 2 if 2 in (grid.dimensions, sweep.grid.dimensions) else 3
    stated = _axes(grid.direction, axes)
    known = [_axes(direction, axes) for direction in orientations(sweep)]
    if not known or any((abs(stated - one) <= ORIENTATION_TOLERANCE).all() for one in known):
        return None
    return f"direction {_written(stated.ravel())}, the sweep's is {_written(known[0].ravel())}"


def read_masks(path: str | Path, sweep: Sweep, *, by_size: bool = False) -> np.ndarray:
    """Read a mask stack that belongs to ``sweep``.

    Size must be the sweep's; so must spacing, origin and direction (within the tolerances above) when the
    sweep has a spacing, since without one its file has no geometry to compare with.

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
    """How masks must be turned to be upright: as the still that they belong to, unless they are already."""
    exif = sweep.grid.exif
    drawn_upright = image.pixels.shape == sweep.shape != stored_shape(sweep.shape, exif)
    return UPRIGHT if image.grid.exif == exif or drawn_upright else exif
