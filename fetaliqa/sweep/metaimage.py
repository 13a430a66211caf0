"""MetaImage files (.mha, .mhd), the format of ACOUSLIC-AI.

Fields: https://itk.org/Wiki/ITK/MetaIO/Documentation. The header is not read with SimpleITK, which pads or rejects
truncated files without a reason, opens any file that a .mhd names, and does not distinguish a spacing of 1 mm from
a missing one.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fetaliqa.errors import SweepError
from fetaliqa.sweep.detached_pixels import BYTE_ORDER_MARK, is_list, pixel_files, text_of
from fetaliqa.sweep.image_orientation import anatomical_code, stored_axes_note
from fetaliqa.sweep.length_units import TRACKED_NOTE, millimetres, tracked_without_calibration, unknown_unit_note
from fetaliqa.sweep.raw_pixels import RawBlock, raw_pixels
from fetaliqa.sweep.sweep_types import Grid
from fetaliqa.sweep.volume_axes import Layout, frames_last
from fetaliqa.sweep.volume_file import (
    RANGES_KEY,
    OpenImage,
    check_frame_spacing,
    check_spacing,
    read_grid,
)

ELEMENT_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
MAX_HEADER_BYTES = 64 << 20  # tracked sweeps carry several transforms per frame: about 2 KB each
MAX_LINE_BYTES = 1 << 20
FRAME_KINDS = ("list", "time")  # of an axis, as PLUS and 3D Slicer write them


def _not_metaimage(name: str) -> SweepError:
    return SweepError(
        f"{name}: is not a MetaImage file, its header has no 'ElementDataFile' line; export the sweep as .mha"
    )


def _read_fields(file: BinaryIO, name: str) -> dict[str, str]:
    """Header fields up to ElementDataFile; ``file`` is left at the first byte after that line."""
    fields: dict[str, str] = {}
    while file.tell() < MAX_HEADER_BYTES:
        line = file.readline(MAX_LINE_BYTES)
        if not line:
            break
        key, equals, value = text_of(line if fields else line.removeprefix(BYTE_ORDER_MARK)).partition("=")
        if not equals:
            if line.strip():
                break
            continue
        if fields.setdefault(key.strip(), value.strip()) != value.strip():
            raise SweepError(
                f"{name}: header line {key.strip()[:40]!r} occurs twice with different values; export it again"
            )
        if key.strip() == "ElementDataFile":
            return fields
    raise _not_metaimage(name)


def _numbers(fields: dict[str, str], key: str, count: int, name: str) -> list[float]:
    words = fields.get(key, "").split()
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != count:
        raise SweepError(
            f"{name}: header line '{key} = {fields.get(key, '')[:60]}'; {count} numbers expected there"
        )
    return values


def _whole(fields: dict[str, str], key: str, default: int, name: str) -> int:
    word = fields.get(key, str(default)).strip()
    if not re.fullmatch(r"-?\d{1,12}", word):
        raise SweepError(f"{name}: header line '{key} = {word[:60]}'; a whole number is expected there")
    return int(word)


def _true(fields: dict[str, str], *keys: str) -> bool:
    return any(fields.get(key, "").lower() in ("true", "1") for key in keys)


def _layout(fields: dict[str, str], name: str) -> tuple[list[int], Layout]:
    """Sizes of the axes, and the frame layout."""
    dimensions = _numbers(fields, "NDims", 1, name)[0]
    words = fields.get("DimSize", "").split()
    if dimensions != len(words) or not all(re.fullmatch(r"-?\d{1,9}", word) for word in words):
        raise SweepError(
            f"{name}: header lines 'NDims = {fields.get('NDims', '')[:20]}' and 'DimSize = "
            f"{fields.get('DimSize', '')[:60]}' contradict each other; export the file again"
        )
    sizes = [int(word) for word in words]
    layout = frames_last(sizes, name)
    kinds = fields.get("Kinds", "").lower().split()
    if any(kind in FRAME_KINDS for kind in kinds[:2]):
        raise SweepError(
            f"{name}: header line 'Kinds = {' '.join(kinds)[:60]}'; frames must come last: columns, rows, frames"
        )
    return sizes, layout


def _spacing(
    fields: dict[str, str], dimensions: int, name: str
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """(row, column) spacing in mm (None when it is missing or its unit is unknown), and notes for the user."""
    keys = [key for key in ("ElementSpacing", "ElementSize") if key in fields]
    if not keys:
        return None, ()
    values = {key: _numbers(fields, key, dimensions, name) for key in keys}
    notes = []
    if len(keys) == 2 and values[keys[0]] != values[keys[1]]:
        notes.append("ElementSpacing and ElementSize differ: ElementSpacing is used, as in ITK and 3D Slicer")
    spacing = values[keys[0]]
    check_spacing(spacing[:3], name)
    if tracked_without_calibration(fields, spacing[:2]):
        return None, (*notes, TRACKED_NOTE)
    unit = fields.get("DistanceUnits", "mm")
    factor = millimetres(unit)
    if factor is None:
        return None, (*notes, unknown_unit_note("DistanceUnits", unit))
    if factor != 1:
        notes.append(f"pixel spacing in {unit} by DistanceUnits, which ITK and 3D Slicer read as mm")
    return check_frame_spacing((spacing[1] * factor, spacing[0] * factor), name), tuple(notes)


_PLACED = {"Offset": 1, "Position": 1, "Origin": 1, "CenterOfRotation": 1}  # numbers by dimensions
_TURNED = {"TransformMatrix": 2, "Rotation": 2, "Orientation": 2}


def _grid(fields: dict[str, str], sizes: list[int], layout: Layout, name: str) -> Grid:
    count = len(sizes)
    lines = [f"NDims = {count}", f"DimSize = {' '.join(map(str, sizes))}"]
    needed = {**_PLACED, **_TURNED, "ElementSpacing": 1, "ElementSize": 1}
    for key in (key for key in needed if key in fields):
        values = _numbers(fields, key, count ** needed[key], name)
        if key in ("ElementSpacing", "ElementSize") and count == 4 and not (0 < values[3] < math.inf):
            values[3] = 1.0  # between frames: not a length, not used
        lines.append(f"{key} = {' '.join(map(repr, values))}")
    header = ["ObjectType = Image", *lines, "ElementType = MET_UCHAR", "ElementDataFile = LOCAL", ""]
    return read_grid("\n".join(header).encode("ascii"), ".mha", "MetaImageIO", sizes, layout, name)


_OPPOSITE = str.maketrans("LRPASI", "RLAPIS")


def _orientation_notes(fields: dict[str, str], grid: Grid) -> list[str]:
    notes = []
    stated = fields.get("AnatomicalOrientation", "").upper()
    expected = anatomical_code(grid.direction).translate(_OPPOSITE)  # the field names the start of each axis
    if grid.dimensions > 2 and re.fullmatch("[LRPASI]{3}", stated) and stated != expected:
        notes.append(
            f"AnatomicalOrientation is {stated}, the axes of its TransformMatrix are {expected}: TransformMatrix "
            "is used, as in ITK and 3D Slicer"
        )
    ultrasound = fields.get("UltrasoundImageOrientation", "").upper()
    if re.fullmatch("[MU][FN][AD]?", ultrasound) and ultrasound[:2] != "MF":
        notes.append(
            f"UltrasoundImageOrientation is {ultrasound}, not MF (marked side left, probe on top): frames are "
            "shown as they are stored"
        )
    turned = stored_axes_note(grid.direction)
    return notes if turned is None else [*notes, turned]


def _intensity_notes(fields: dict[str, str], name: str) -> list[str]:
    """The note on an intensity function (``ElementToIntensityFunction...``), which is not applied."""
    slope, offset = (
        _numbers(fields, key, 1, name)[0] if key in fields else default
        for key, default in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0))
    )
    if (slope, offset) == (1, 0):
        return []
    return [
        f"ElementToIntensityFunction (slope {slope:g}, offset {offset:g}) not used, as in ITK and 3D Slicer: "
        "values are shown as they are stored"
    ]


def _dtype(fields: dict[str, str], name: str) -> np.dtype:
    element = fields.get("ElementType", "")
    if element not in ELEMENT_TYPES:
        raise SweepError(f"{name}: element type {element[:40]!r} cannot be read; export the file as MET_UCHAR")
    order = ">" if _true(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<"
    return np.dtype(order + ELEMENT_TYPES[element])


def _is_local(fields: dict[str, str]) -> bool:
    return fields["ElementDataFile"].upper() == "LOCAL"


def _located(block: RawBlock, fields: dict[str, str], header_bytes: int, files: list[Path]) -> RawBlock:
    """The block with the location of its pixels."""
    skip = _whole(fields, "HeaderSize", 0, block.name)
    if skip < -1 or (block.deflated and (skip == -1 or len(files) > 1)):
        raise SweepError(
            f"{block.name}: header line 'HeaderSize = {skip}', {'' if block.deflated else 'not '}compressed, with "
            f"{len(files)} pixel files cannot be read; export it as one .mha"
        )
    size = block.total_bytes if len(files) == 1 else block.frame_bytes
    if skip == -1:  # the pixels are the last bytes of the file
        skip = max(0, files[0].stat().st_size - size)
    elif _is_local(fields):
        skip += header_bytes
    return replace(block, path=files[0], offset=skip, frame_files=tuple(files) if len(files) > 1 else ())


def _files(path: Path, fields: dict[str, str], names: list[str], frames: int) -> list[Path]:
    return [path] if _is_local(fields) else pixel_files(path, fields["ElementDataFile"], names, frames)


def _names_after(file: BinaryIO, fields: dict[str, str]) -> list[str]:
    """Names of pixel files after the header, if it declares a list."""
    return text_of(file.read(MAX_HEADER_BYTES)).splitlines() if is_list(fields["ElementDataFile"]) else []


def is_local(path: Path) -> bool:
    """Whether a MetaImage's pixels follow its header in the same file.

    Raises:
        SweepError: when it is not a MetaImage.
    """
    with open(path, "rb") as file:
        return _is_local(_read_fields(file, path.name))


def files_of_metaimage(path: Path) -> list[Path]:
    """The pixel files of a MetaImage: ``path`` itself, or those named in its header.

    Raises:
        SweepError: when it is not a MetaImage, or a pixel file is missing or outside of the header's folder.
    """
    with open(path, "rb") as file:
        fields = _read_fields(file, path.name)
        return _files(path, fields, _names_after(file, fields), _layout(fields, path.name)[1].shape[0])


def open_metaimage(path: Path) -> OpenImage:
    """Open a .mha or .mhd file and its pixel files.

    Raises:
        SweepError: when it is not a MetaImage, its header is contradictory, it is too short for the size in its
            header, or its pixel file is outside of its folder.
    """
    name = path.name
    with open(path, "rb") as file:
        fields = _read_fields(file, name)
        header_bytes = file.tell()
        names = _names_after(file, fields)
    sizes, layout = _layout(fields, name)
    if fields.get("BinaryData", "True").lower() == "false":
        raise SweepError(f"{name}: its pixels are written as text; export the file with binary pixels")
    spacing, notes = _spacing(fields, len(sizes), name)
    block = RawBlock(
        name=name,
        path=path,
        offset=0,
        deflated=_true(fields, "CompressedData"),
        dtype=_dtype(fields, name),
        shape=layout.shape,
        channels=_whole(fields, "ElementNumberOfChannels", 1, name),
    )
    block = _located(block, fields, header_bytes, _files(path, fields, names, layout.shape[0]))
    pixels = raw_pixels(block)
    grid = _grid(fields, sizes, layout, name)
    notes = (*notes, *_intensity_notes(fields, name), *_orientation_notes(fields, grid))
    return OpenImage(pixels, grid, spacing, fields.get(RANGES_KEY), notes)
