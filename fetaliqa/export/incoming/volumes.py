"""Mask stacks of ACOUSLIC-AI, and segmentations of 3D Slicer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fetaliqa.anatomy import ABDOMEN
from fetaliqa.datasets.acouslic_layout import MASKS
from fetaliqa.errors import LabelError
from fetaliqa.export.incoming.base import VALUES, IncomingFrame, named_frame
from fetaliqa.labels.segments import SUFFIX, Segmentation, anatomy_segments
from fetaliqa.sweep import Sweep, case_id_of, read_masks


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
        files = [path] if path.is_file() else sorted(path.glob(f"*{SUFFIX}"))
        self._files = {f.name[: -len(SUFFIX)]: f for f in files if f.name.endswith(SUFFIX)}

    def cases(self) -> list[str]:
        return sorted(self._files)

    def read(self, case_id: str, sweep: Sweep) -> dict[int, IncomingFrame]:
        file = Segmentation(self._files[case_id])
        inside, names = np.zeros(sweep.shape, bool), [set[str]() for _ in range(sweep.frame_count)]
        for segment in anatomy_segments(file.segments, ABDOMEN, file.name):
            found = file.mask(segment, sweep)
            inside |= found
            for frame in np.flatnonzero(found.any(axis=(1, 2))):
                names[frame].add(segment.name)
        return {frame: named_frame(inside[frame], sorted(told)) for frame, told in enumerate(names)}
