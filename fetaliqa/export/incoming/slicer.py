"""Segmentations of 3D Slicer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fetaliqa.errors import LabelError
from fetaliqa.export.frame_names import FrameNames
from fetaliqa.export.incoming.base import ClassLabel, Drawn, Outline, Placed, add_frame
from fetaliqa.sweep import Sweep
from fetaliqa.sweep.reading import DICOM_SUFFIXES, sweep_suffix

SLICER_ENDING = ".seg.nrrd"
# category and then type of what a segment is, each SCHEME^VALUE^MEANING
TERMINOLOGY = re.compile(r"TerminologyEntry:[^~|]*~[^~|]*~(?P<scheme>[^~^|]+)\^(?P<value>[^~^|]+)\^")
OFFSET = "Segmentation_ReferenceImageExtentOffset"  # where a cropped segmentation begins in the image


class SlicerLabels:
    """``CASE.seg.nrrd`` as 3D Slicer writes it: segments in one or more layers, maybe cropped."""

    shared = False

    def __init__(self, path: Path, names: FrameNames) -> None:
        self.where = path.name
        self.placed: Placed[Path] = Placed(names)
        for file in [path] if path.is_file() else sorted(path.iterdir()):
            if file.name.lower().endswith(SLICER_ENDING) and not file.name.startswith("."):
                self.placed.add(file.name, file, whole=True)

    def classes(self, case_id: str) -> list[ClassLabel]:
        return [
            label for _, _, file in self.placed.of(case_id) for label, _, _ in _segments(_header(file), file.name)
        ]

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        found: dict[int | None, Drawn] = {}
        for _, place, file in self.placed.of(case_id):
            try:
                image = sitk.ReadImage(str(file))
            except RuntimeError:
                raise LabelError(f"{file.name}: cannot be read as .nrrd; save it again in Slicer") from None
            layers = sitk.GetArrayViewFromImage(image)
            layers = layers[..., None] if image.GetNumberOfComponentsPerPixel() == 1 else layers
            frames, rows, columns = _place_in(image, sweep, file.name)
            for frame in range(sweep.frame_count):
                add_frame(found, frame, Drawn([], place.proposed), file.name)
            for label, layer, value in _segments(image, file.name):
                for offset, part in enumerate(layers[..., layer]):
                    if (part == value).any():
                        draw = _Part(part, value, sweep.shape[1:], (rows, columns), image)
                        found[frames.start + offset].outlines.append(Outline(label, draw))
        return found


@dataclass(frozen=True, eq=False)
class _Part:
    """Draws a frame of which a part is given: where it holds a value. The image owns the part's memory."""

    part: np.ndarray
    value: int
    shape: tuple[int, int]
    place: tuple[slice, slice]
    image: sitk.Image

    def __call__(self) -> np.ndarray:
        mask = np.zeros(self.shape, bool)
        mask[self.place] = self.part == self.value
        return mask


def _header(file: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise LabelError(f"{file.name}: cannot be read as .nrrd; save it again in Slicer") from None
    return reader


def _segments(image: sitk.Image | sitk.ImageFileReader, name: str) -> list[tuple[ClassLabel, int, int]]:
    """Class, layer and value of each segment."""
    keys = set(image.GetMetaDataKeys())
    found: list[tuple[ClassLabel, int, int]] = []
    while f"Segment{len(found)}_LabelValue" in keys or f"Segment{len(found)}_ID" in keys:
        prefix = f"Segment{len(found)}_"

        def field(key: str, default: str, prefix: str = prefix) -> str:
            return str(image.GetMetaData(prefix + key)).strip() if prefix + key in keys else default

        segment, layer, value = field("Name", field("ID", "")), field("Layer", "0"), field("LabelValue", "1")
        if not (layer.isdecimal() and value.isdecimal()) or int(layer) >= _layers(image):
            raise LabelError(f"{name}: segment {segment!r} has no layer {layer} with value {value}; save it again")
        code = TERMINOLOGY.search(field("Tags", ""))
        label = ClassLabel(segment, int(value), None if code is None else f"{code['scheme']}:{code['value']}")
        found.append((label, int(layer), int(value)))
    if not found:
        raise LabelError(f"{name}: names no segment; save the segmentation in Slicer as .seg.nrrd")
    return found


def _layers(image: sitk.Image | sitk.ImageFileReader) -> int:
    if isinstance(image, sitk.ImageFileReader):
        return int(image.GetNumberOfComponents())
    return int(image.GetNumberOfComponentsPerPixel())


def _place_in(image: sitk.Image, sweep: Sweep, name: str) -> tuple[slice, slice, slice]:
    """Where a segmentation, which Slicer may have cropped, lies in the sweep's stack: frames, rows, columns.

    Of a calibrated DICOM cine Slicer says 1 mm, and the spacing here is that of its ultrasound regions: then only
    the place in pixels is compared.
    """
    grid, size = sweep.grid, image.GetSize()
    if len(size) != 3:
        raise LabelError(f"{name}: has {len(size)} dimensions; save the segmentation of the whole sweep")
    calibrated = sweep.source is not None and sweep_suffix(sweep.source) in (None, *DICOM_SUFFIXES)
    offset = image.GetMetaData(OFFSET).split() if OFFSET in image.GetMetaDataKeys() else []
    if calibrated and len(offset) == 3 and all(word.isdecimal() for word in offset):
        index = np.array([float(word) for word in offset])
    else:
        reference = sitk.Image([1, 1, 1], sitk.sitkUInt8)
        reference.SetSpacing(image.GetSpacing() if calibrated else grid.spacing)
        reference.SetOrigin(grid.origin)
        reference.SetDirection(grid.direction)
        index = np.array(reference.TransformPhysicalPointToContinuousIndex(image.GetOrigin()))
    same = np.allclose(image.GetDirection(), grid.direction, atol=1e-4) and (
        calibrated or np.allclose(image.GetSpacing(), grid.spacing, rtol=1e-4)
    )
    first = np.rint(index).astype(int)
    last = first + size
    if not same or abs(index - first).max() > 0.01 or first.min() < 0 or (last > sweep.shape[::-1]).any():
        raise LabelError(
            f"{name}: lies on another grid than {sweep.case_id}; save it with the sweep as its source"
        )
    columns, rows, frames = (slice(int(a), int(b)) for a, b in zip(first, last))
    return frames, rows, columns
