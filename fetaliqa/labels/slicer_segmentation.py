"""Segmentations of 3D Slicer (``.seg.nrrd``): named segments in one or more layers, maybe cropped.

Slicer puts segments that overlap into layers, along the first axis of the file, and may crop all layers to what is
drawn: ``Segmentation_ReferenceImageExtentOffset`` says where the rest begins in the image that was segmented.
Fields: https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fetaliqa.errors import LabelError
from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.anatomy_names import matches
from fetaliqa.sweep import Sweep
from fetaliqa.sweep.masks import orientation_conflict
from fetaliqa.sweep.sweep_reader import DICOM_SUFFIXES, sweep_suffix
from fetaliqa.sweep.sweep_types import Grid

SUFFIX = ".seg.nrrd"
MAX_HEADER_BYTES = 1 << 20
MAX_BYTES = 8 << 30  # of all layers; an ACOUSLIC-AI case has 0.35 GB a layer
ORIGIN_TOLERANCE = 1e-2  # pixels
# category and then type of what a segment is, each SCHEME^VALUE^MEANING
TERMINOLOGY = re.compile(r"TerminologyEntry:[^~|]*~[^~|]*~(?P<scheme>[^~^|]+)\^(?P<value>[^~^|]+)\^")
OFFSET = "Segmentation_ReferenceImageExtentOffset"
PARAMETERS = "Segmentation_ConversionParameters"
# default names of Slicer and other tools, which do not name the anatomy
GENERIC = re.compile(r"(segment|label|class|region|mask|unknown)?[ _-]*\d*", re.IGNORECASE)


@dataclass(frozen=True)
class Segment:
    """One segment.

    Attributes:
        name: given name, else its ID.
        layer: index of its layer.
        value: of its pixels in that layer.
        code: terminology code ``SCHEME:VALUE``; None without one.
    """

    name: str
    layer: int
    value: int
    code: str | None = None


class Segmentation:
    """A ``.seg.nrrd`` file. Its header is read at once, its layers when the first mask is asked for.

    Args:
        path: the file.

    Raises:
        LabelError: when it cannot be read, or names no segment.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self._reader = sitk.ImageFileReader()
        self._reader.SetImageIO("NrrdImageIO")
        self._reader.SetFileName(str(path))
        try:
            self._reader.ReadImageInformation()
        except RuntimeError:
            raise self._unreadable() from None
        self._keys = set(self._reader.GetMetaDataKeys())
        self.segments = self._read_segments()

    def mask(self, segment: Segment, sweep: Sweep) -> np.ndarray:
        """Where a segment is: bool [T, H, W], on the grid of the sweep.

        Raises:
            LabelError: when the file has another size or orientation than the sweep, or its pixels are damaged.
        """
        place = self.place_in(sweep)
        whole = np.zeros(sweep.shape, bool)
        whole[place] = self.part(segment)
        return whole

    def part(self, segment: Segment) -> np.ndarray:
        """Where a segment is in the file, which may be cropped: bool [frames, rows, columns]; see ``place_in``."""
        return np.asarray(self.layer(segment) == segment.value)

    def layer(self, segment: Segment) -> np.ndarray:
        """Values of a segment's layer, as in the file: [frames, rows, columns]; not a copy."""
        return self._layers[..., segment.layer]

    def overlapping(self, segment: Segment) -> list[str]:
        """Names of the other segments that share pixels with a segment."""
        inside = self.part(segment)
        return [
            other.name
            for other in self.segments
            if other != segment and (self._layers[..., other.layer][inside] == other.value).any()
        ]

    def _unreadable(self) -> LabelError:
        return LabelError(f"{self.name}: cannot be read as a segmentation; save it again in Slicer as {SUFFIX}")

    def _field(self, key: str, default: str) -> str:
        return str(self._reader.GetMetaData(key)).strip() if key in self._keys else default

    def _read_segments(self) -> tuple[Segment, ...]:
        segments: list[Segment] = []
        count = self._reader.GetNumberOfComponents()
        while {f"Segment{len(segments)}_{key}" for key in ("LabelValue", "ID", "Name")} & self._keys:
            prefix = f"Segment{len(segments)}_"
            layer, value = self._field(prefix + "Layer", "0"), self._field(prefix + "LabelValue", "1")
            if not (layer.isdecimal() and value.isdecimal() and int(layer) < count):
                raise LabelError(
                    f"{self.name}: segment {self._field(prefix + 'Name', '?')!r} has layer {layer!r} and value "
                    f"{value!r}, but the file has {count} layer(s); save it again in Slicer"
                )
            code = TERMINOLOGY.search(self._field(prefix + "Tags", ""))
            name = self._field(prefix + "Name", "") or self._field(prefix + "ID", "")
            written = None if code is None else f"{code['scheme']}:{code['value']}"
            segments.append(Segment(name, int(layer), int(value), written))
        if not segments:
            raise LabelError(f"{self.name}: names no segment; save the segmentation in Slicer as {SUFFIX}")
        return tuple(segments)

    @cached_property
    def _layers(self) -> np.ndarray:
        """[frames, rows, columns, layers], as in the file."""
        size = self._reader.GetSize()
        if int(np.prod(size, dtype=object)) * self._reader.GetNumberOfComponents() > MAX_BYTES:
            raise LabelError(f"{self.name}: its layers have {size} pixels; more than 8 GiB cannot be read")
        try:
            image = self._reader.Execute()
        except RuntimeError:
            raise self._unreadable() from None
        self._image = image  # owns the memory of the layers
        layers = sitk.GetArrayViewFromImage(image)
        if image.GetNumberOfComponentsPerPixel() == 1:
            layers = layers[..., None]
        return layers if layers.ndim == 4 else layers[None]

    @property
    def _grid(self) -> Grid:
        """The geometry given in the file."""
        spacing, origin, direction = (
            self._reader.GetSpacing(),
            self._reader.GetOrigin(),
            self._reader.GetDirection(),
        )
        if len(spacing) == 3:
            return Grid(spacing, origin, direction)
        a, b, c, d = direction
        return Grid((*spacing, 1.0), (*origin, 0.0), (a, b, 0.0, c, d, 0.0, 0.0, 0.0, 1.0), dimensions=2)

    def place_in(self, sweep: Sweep) -> tuple[slice, slice, slice]:
        """Where the (possibly cropped) file lies in the sweep's stack: frames, rows, columns.

        Raises:
            LabelError: when it belongs to an image of another size or orientation.
        """
        size = (*self._reader.GetSize(), 1)[:3]
        full = sweep.shape[::-1]
        checked = self._check_reference(sweep)
        grid = self._grid
        conflict = orientation_conflict(self.path, grid, sweep)
        if conflict is not None:
            raise LabelError(f"{self.name}: {conflict}; save it with the sweep as its source")
        offset = self._field(OFFSET, "").split()
        if len(offset) == 3 and all(re.fullmatch(r"-?\d{1,6}", word) for word in offset):
            first = np.array([int(word) for word in offset])
        elif size == full:
            first = np.zeros(3, int)
        else:
            first = self._physical_place(grid, sweep)
        if not checked and sweep.grid.dimensions == 4 and sweep.frame_count > 1 == size[2] and not first[2]:
            raise LabelError(  # each image of a sequence lies at the same place
                f"{self.name}: segments a single image, and which of the {sweep.frame_count} frames of "
                f"{sweep.case_id} that is, is unknown; segment them as a stack of as many slices"
            )
        last = first + size
        if first.min() < 0 or (last > full).any():
            raise self._elsewhere(sweep)
        columns, rows, frames = (slice(int(a), int(b)) for a, b in zip(first, last))
        return frames, rows, columns

    def _check_reference(self, sweep: Sweep) -> bool:
        """Refuse a segmentation of an image that has another size; return whether the file gives that size."""
        match = re.search(r"Reference image geometry\|([^|&]*)", self._field(PARAMETERS, ""))
        words = [word for word in match[1].split(";") if word] if match else []
        extent = words[-6:]
        if len(words) != 22 or not all(re.fullmatch(r"-?\d{1,6}", word) for word in extent):
            return False
        low, high = np.array(extent[::2], int), np.array(extent[1::2], int)
        size = tuple(int(length) for length in high - low + 1)
        if min(size) > 0 and size != sweep.shape[::-1]:
            written = " x ".join(map(str, size))
            ours = " x ".join(map(str, sweep.shape[::-1]))
            raise LabelError(
                f"{self.name}: segments an image of {written} pixels, but {sweep.case_id} has {ours}; "
                "save it with the sweep as its source"
            )
        return min(size) > 0

    def _physical_place(self, grid: Grid, sweep: Sweep) -> np.ndarray:
        """The first pixel of a cropped file without a reference extent, from its physical origin.

        For calibrated DICOM ultrasound, GDCM (and so Slicer) gives 1 mm; the file's own spacing is used there.
        """
        dicom = sweep.source is not None and sweep_suffix(sweep.source) in (None, *DICOM_SUFFIXES)
        reference = sitk.Image([1, 1, 1], sitk.sitkUInt8)
        reference.SetSpacing(grid.spacing if dicom else sweep.grid.spacing)
        reference.SetOrigin(sweep.grid.origin)
        reference.SetDirection(sweep.grid.direction)
        index = np.array(reference.TransformPhysicalPointToContinuousIndex(grid.origin))
        first = np.rint(index).astype(int)
        same = dicom or np.allclose(grid.spacing, sweep.grid.spacing, rtol=1e-4)
        if not same or abs(index - first).max() > ORIGIN_TOLERANCE:
            raise self._elsewhere(sweep)
        return first

    def _elsewhere(self, sweep: Sweep) -> LabelError:
        return LabelError(
            f"{self.name}: lies on another grid than {sweep.case_id}; save it with the sweep as its source"
        )


def is_segmentation(path: Path) -> bool:
    """Whether an NRRD file's header names segments, whatever the file is called."""
    if not path.name.lower().endswith(".nrrd"):
        return False
    with open(path, "rb") as file:
        head = file.read(MAX_HEADER_BYTES).split(b"\n\n", 1)[0].split(b"\r\n\r\n", 1)[0]
    return re.search(rb"(?m)^Segment0_(ID|Name|LabelValue):=", head) is not None


def anatomy_segments(segments: Sequence[Segment], anatomy: Anatomy, name: str) -> list[Segment]:
    """The segments that are the anatomy: by name; the only one, when its name says nothing.

    Args:
        segments: of a file.
        anatomy: what is outlined.
        name: of the file, for messages.

    Raises:
        LabelError: naming the segments, when none is.
    """
    matching = [segment for segment in segments if matches(segment.name, anatomy)]
    if not matching and len(segments) == 1 and GENERIC.fullmatch(segments[0].name.strip()):
        return list(segments)
    if not matching:
        named = ", ".join(repr(segment.name) for segment in segments)
        raise LabelError(
            f"{name}: none of its segments ({named}) is called {anatomy.name}; rename the one that outlines the "
            f"{anatomy.name} and save it again"
        )
    return matching
