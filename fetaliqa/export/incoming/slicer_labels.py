"""Reader of segmentations of 3D Slicer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fetaliqa.export.frame_names import FrameNames
from fetaliqa.export.incoming.label_source import ClassLabel, Drawn, Outline, Placed, add_frame
from fetaliqa.labels.slicer_segmentation import SUFFIX, Segment, Segmentation
from fetaliqa.sweep import Sweep


class SlicerLabels:
    """``CASE.seg.nrrd`` as 3D Slicer writes it: segments in one or more layers, maybe cropped."""

    shared = False

    def __init__(self, path: Path, names: FrameNames) -> None:
        self.where = path.name
        self.placed: Placed[Path] = Placed(names)
        for file in [path] if path.is_file() else sorted(path.iterdir()):
            if file.name.lower().endswith(SUFFIX) and not file.name.startswith("."):
                self.placed.add(file.name, file, whole=True)

    def classes(self, case_id: str) -> list[ClassLabel]:
        return [_label(one) for _, _, file in self.placed.of(case_id) for one in Segmentation(file).segments]

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        outlines: dict[int | None, Drawn] = {}
        for _, place, file in self.placed.of(case_id):
            segmentation = Segmentation(file)
            frames, rows, columns = segmentation.place_in(sweep)
            for frame in range(sweep.frame_count):
                add_frame(outlines, frame, Drawn([], place.proposed), file.name)
            for segment in segmentation.segments:
                for offset, part in enumerate(segmentation.layer(segment)):
                    if (part == segment.value).any():
                        draw = _Part(part, segment.value, sweep.shape[1:], (rows, columns), segmentation)
                        outlines[frames.start + offset].outlines.append(Outline(_label(segment), draw))
        return outlines


def _label(segment: Segment) -> ClassLabel:
    return ClassLabel(segment.name, segment.value, segment.code)


@dataclass(frozen=True, eq=False)
class _Part:
    """Draws a frame of which a part is given: where it holds a value. The segmentation owns the part's memory."""

    part: np.ndarray
    value: int
    shape: tuple[int, int]
    place: tuple[slice, slice]
    segmentation: Segmentation

    def __call__(self) -> np.ndarray:
        mask = np.zeros(self.shape, bool)
        mask[self.place] = self.part == self.value
        return mask
