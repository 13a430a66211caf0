"""Mask stacks of ACOUSLIC-AI, and segmentations of 3D Slicer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fetaliqa.datasets.acouslic_layout import MASKS
from fetaliqa.errors import LabelError
from fetaliqa.export.incoming.base import VALUES, IncomingFrame, named_frame
from fetaliqa.sweep import Sweep, case_id_of, read_masks

SLICER_ENDING = ".seg.nrrd"


class StackLabels:
    """Mask stacks as ACOUSLIC-AI has them: 1 on an optimal plane, 2 on a suboptimal one."""

    def __init__(self, path: Path) -> None:
        folder = path / MASKS if (path / MASKS).is_dir() else path
        files = [path] if path.is_file() else sorted(folder.glob("*.mha"))
        self._files = {case_id_of(file): file for file in files}

    def cases(self) -> list[str]:
        return sorted(self._files)

    def read(self, case_id: str, sweep: Sweep) -> dict[int, IncomingFrame]:
        masks = read_masks(self._files[case_id], sweep)
        if masks.max() > 2:
            raise LabelError(f"{case_id}: its masks hold the value {masks.max()}; 0, 1 and 2 are known")
        return {frame: _graded(mask) for frame, mask in enumerate(masks)}


def _graded(mask: np.ndarray) -> IncomingFrame:
    if not mask.any():
        return IncomingFrame(mask)
    plane = "optimal" if (mask == 1).any() else "suboptimal"
    return IncomingFrame((mask > 0).astype(np.uint8) * VALUES.get(plane, 1), plane)


class SlicerLabels:
    """``CASE.seg.nrrd`` as 3D Slicer writes it: labels in one or more layers, maybe cropped."""

    def __init__(self, path: Path) -> None:
        files = [path] if path.is_file() else sorted(path.glob(f"*{SLICER_ENDING}"))
        self._files = {f.name[: -len(SLICER_ENDING)]: f for f in files if f.name.endswith(SLICER_ENDING)}

    def cases(self) -> list[str]:
        return sorted(self._files)

    def read(self, case_id: str, sweep: Sweep) -> dict[int, IncomingFrame]:
        file = self._files[case_id]
        try:
            image = sitk.ReadImage(str(file))
        except RuntimeError:
            raise LabelError(f"{file.name}: cannot be read as .nrrd; save it again in Slicer") from None
        layers = sitk.GetArrayFromImage(image)
        layers = layers[..., None] if image.GetNumberOfComponentsPerPixel() == 1 else layers
        place = _place_in(image, sweep, file.name)
        inside, names = np.zeros(sweep.shape, bool), [set[str]() for _ in range(sweep.frame_count)]
        for name, layer, value in _segments(image, file.name):
            found = layers[..., layer] == value
            inside[place] |= found
            for offset in np.flatnonzero(found.any(axis=(1, 2))):
                names[place[0].start + int(offset)].add(name)
        return {frame: named_frame(inside[frame], sorted(told)) for frame, told in enumerate(names)}


def _segments(image: sitk.Image, name: str) -> list[tuple[str, int, int]]:
    """Name, layer and value of each segment."""
    keys = set(image.GetMetaDataKeys())
    found: list[tuple[str, int, int]] = []
    while f"Segment{len(found)}_LabelValue" in keys or f"Segment{len(found)}_ID" in keys:
        prefix = f"Segment{len(found)}_"

        def field(key: str, default: str, prefix: str = prefix) -> str:
            return image.GetMetaData(prefix + key) if prefix + key in keys else default

        found.append((field("Name", ""), int(field("Layer", "0")), int(field("LabelValue", "1"))))
    if not found:
        raise LabelError(f"{name}: names no segment; save the segmentation in Slicer as .seg.nrrd")
    return found


def _place_in(image: sitk.Image, sweep: Sweep, name: str) -> tuple[slice, slice, slice]:
    """Where a segmentation, which Slicer may have cropped, lies in the sweep's stack: frames, rows, columns."""
    grid, size = sweep.grid, image.GetSize()
    reference = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    reference.SetSpacing(grid.spacing)
    reference.SetOrigin(grid.origin)
    reference.SetDirection(grid.direction)
    same = np.allclose(image.GetSpacing(), grid.spacing, rtol=1e-4) and np.allclose(
        image.GetDirection(), grid.direction, atol=1e-4
    )
    index = np.array(reference.TransformPhysicalPointToContinuousIndex(image.GetOrigin()))
    first = np.rint(index).astype(int)
    last = first + size
    if not same or abs(index - first).max() > 0.01 or first.min() < 0 or (last > sweep.shape[::-1]).any():
        raise LabelError(
            f"{name}: lies on another grid than {sweep.case_id}; save it with the sweep as its source"
        )
    columns, rows, frames = (slice(int(a), int(b)) for a, b in zip(first, last))
    return frames, rows, columns
