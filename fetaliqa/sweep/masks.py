"""Mask stacks on the grid of the sweep they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fetaliqa.errors import OptionError, SweepError
from fetaliqa.sweep.mask_files import write_frames
from fetaliqa.sweep.orientation import UPRIGHT, stored_shape, upright
from fetaliqa.sweep.pixels import to_labels
from fetaliqa.sweep.reading import open_image, sweep_suffix
from fetaliqa.sweep.types import Grid, Sweep
from fetaliqa.sweep.volume import OpenImage

MASK_SUFFIXES = (".mha", ".nii.gz", ".nrrd")
"""Formats masks can be written in."""

SPACING_TOLERANCE = 1e-4
"""Relative. NIfTI keeps spacing as 32-bit floats (1e-7), some exporters write four to five digits."""

ORIGIN_TOLERANCE = 1e-2
"""In pixels of the sweep."""

DIRECTION_TOLERANCE = 1e-4
"""Largest difference between direction cosines: 0.006 degrees."""


def write_masks(path: str | Path, masks: np.ndarray, sweep: Sweep) -> None:
    """Write a mask stack on the sweep's own grid: same size, spacing, origin and direction; compressed.

    The file appears complete or not at all. For a sweep read from a plane image the mask is a plane image.

    Args:
        path: .mha, .nii.gz or .nrrd file.
        masks: uint8 [T, H, W] labels.
        sweep: what the masks belong to.

    Raises:
        OptionError: when the suffix is none of ``MASK_SUFFIXES``.
        ValueError: when ``masks`` has another type or shape than the sweep's frames.
    """
    path = Path(path)
    if sweep_suffix(path) not in MASK_SUFFIXES:
        raise OptionError(f"{path.name}: masks can be written as {', '.join(MASK_SUFFIXES)}; choose one of these")
    if masks.dtype != np.uint8 or masks.shape != sweep.shape:
        raise ValueError(f"masks of type {masks.dtype} and shape {masks.shape}; expected uint8 {sweep.shape}")
    frames = (frame if frame.any() else None for frame in masks)
    write_frames(path, sweep.shape, sweep.grid, frames)


def _difference(masks: Grid, sweep: Grid) -> str | None:
    """What differs between two grids beyond the tolerances, in words; a third axis only if both have it."""
    axes = 2 if 2 in (masks.dimensions, sweep.dimensions) else 3
    steps = axes if masks.dimensions == sweep.dimensions else 2  # the third is then between frames in one of them

    def written(values: np.ndarray) -> str:
        return "(" + ", ".join(f"{value:g}" for value in values) + ")"

    ours, theirs = np.asarray(sweep.spacing[:steps]), np.asarray(masks.spacing[:steps])
    if (abs(theirs / ours - 1) > SPACING_TOLERANCE).any():
        return f"spacing {written(theirs)} mm, the sweep's is {written(ours)}"
    origin, other = np.asarray(sweep.origin[:axes]), np.asarray(masks.origin[:axes])
    if (abs(other - origin) > ORIGIN_TOLERANCE * ours.min()).any():
        return f"origin {written(other)} mm, the sweep's is {written(origin)}"
    direction = np.asarray(sweep.direction).reshape(3, 3)[:axes, :axes]
    turned = np.asarray(masks.direction).reshape(3, 3)[:axes, :axes]
    if (abs(turned - direction) > DIRECTION_TOLERANCE).any():
        return f"direction {written(turned.ravel())}, the sweep's is {written(direction.ravel())}"
    return None


def read_masks(path: str | Path, sweep: Sweep) -> np.ndarray:
    """Read a mask stack that belongs to ``sweep``.

    Size must be the sweep's; so must spacing, origin and direction (within the tolerances above) when the
    sweep has a spacing, since without one its file has no geometry to compare with.

    Returns:
        uint8 [T, H, W] labels.

    Raises:
        NotFoundError: when there is no such file.
        SweepError: when it cannot be read, lies on another grid, or its values are no labels.
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
    if sweep.spacing is not None:
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
