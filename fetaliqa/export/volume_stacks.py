"""Stacks of frames or masks as volumes, on the geometry of the file that the frames came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fetaliqa.sweep import Grid, Ranges
from fetaliqa.sweep.itk_paths import write_compressed
from fetaliqa.sweep.volume_file import RANGES_KEY


def write_stack(path: Path, stack: np.ndarray, grid: Grid, ranges: Ranges | None = None) -> None:
    """Write uint8 [T, H, W], compressed.

    Args:
        path: .mha, .nrrd or .nii.gz.
        stack: uint8 [T, H, W].
        grid: spacing, origin and direction; of a plane image they are completed by a frame axis.
        ranges: half-open frame range of each sweep, kept in the header where the format has room for it.
    """
    image = sitk.GetImageFromArray(np.ascontiguousarray(stack))
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    if ranges is not None and not path.name.endswith(".nii.gz"):
        image.SetMetaData(RANGES_KEY, ",".join(f"{start}:{stop}" for start, stop in ranges))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_compressed(image, path)
