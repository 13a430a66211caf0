"""MetaImage headers (.mha, .mhd), the format of ACOUSLIC-AI.

Fields: https://itk.org/Wiki/ITK/MetaIO/Documentation. The header is read here rather than by SimpleITK,
which pads or refuses truncated files without saying why, follows a .mhd to any file of the machine, and
cannot tell a spacing of 1 mm from none.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fetaliqa.errors import SweepError
from fetaliqa.sweep.raw import RawBlock, raw_pixels
from fetaliqa.sweep.volume import (
    RANGES_KEY,
    OpenImage,
    check_spacing,
    checked_shape,
    data_file_beside,
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


def _not_metaimage(name: str) -> SweepError:
    return SweepError(
        f"{name}: is not a MetaImage file, its header has no 'ElementDataFile' line; export the sweep as .mha"
    )


def _read_fields(file: BinaryIO, name: str) -> dict[str, str]:
    """Header fields up to ElementDataFile, where ``file`` is left at the first byte after that line."""
    fields: dict[str, str] = {}
    while file.tell() < MAX_HEADER_BYTES:
        line = file.readline(MAX_LINE_BYTES)
        if not line:
            break
        key, equals, value = line.decode("latin-1").partition("=")
        if not equals:
            if line.strip():
                break
            continue
        fields[key.strip()] = value.strip()
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


def _shape(fields: dict[str, str], name: str) -> tuple[tuple[int, int, int], int]:
    dimensions = _numbers(fields, "NDims", 1, name)[0]
    words = fields.get("DimSize", "").split()
    if dimensions != len(words) or not all(re.fullmatch(r"-?\d{1,9}", word) for word in words):
        raise SweepError(
            f"{name}: header lines 'NDims = {fields.get('NDims', '')[:20]}' and 'DimSize = "
            f"{fields.get('DimSize', '')[:60]}' do not fit each other; export the file again"
        )
    return checked_shape([int(word) for word in words], name), len(words)


def _dtype(fields: dict[str, str], name: str) -> np.dtype:
    element = fields.get("ElementType", "")
    if element not in ELEMENT_TYPES:
        raise SweepError(f"{name}: element type {element[:40]!r} cannot be read; export the file as MET_UCHAR")
    order = ">" if _true(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<"
    return np.dtype(order + ELEMENT_TYPES[element])


def _is_local(fields: dict[str, str]) -> bool:
    return fields["ElementDataFile"].upper() == "LOCAL"


def _locate(path: Path, fields: dict[str, str], header_bytes: int, block_bytes: int) -> tuple[Path, int]:
    """File and offset of the pixels."""
    written = fields["ElementDataFile"]
    if not written or written.upper().startswith("LIST") or "%" in written:
        raise SweepError(
            f"{path.name}: its pixels are spread over several files ({written[:60]!r}); export it as one .mha"
        )
    local = _is_local(fields)
    data = path if local else data_file_beside(path, written)
    skip = _whole(fields, "HeaderSize", 0, path.name)
    if skip == -1:  # the pixels are the last bytes of the file, whatever comes before
        return data, max(0, data.stat().st_size - block_bytes)
    return data, (header_bytes if local else 0) + max(0, skip)


def is_local(path: Path) -> bool:
    """Whether a MetaImage's pixels follow its header in the same file.

    Raises:
        SweepError: when it is no MetaImage.
    """
    with open(path, "rb") as file:
        return _is_local(_read_fields(file, path.name))


def pixel_file(path: Path) -> Path:
    """The file that holds a MetaImage's pixels: ``path`` itself, or the one that its header names.

    Raises:
        SweepError: when it is no MetaImage, or that file is missing or lies outside of the header's folder.
    """
    with open(path, "rb") as file:
        fields = _read_fields(file, path.name)
    return path if _is_local(fields) else data_file_beside(path, fields["ElementDataFile"])


def open_metaimage(path: Path) -> OpenImage:
    """Open a .mha or .mhd file.

    Raises:
        SweepError: when it is no MetaImage, its header contradicts itself, it is too short for the size in
            its header, or its pixel file lies outside of its folder.
    """
    name = path.name
    with open(path, "rb") as file:
        fields = _read_fields(file, name)
        header_bytes = file.tell()
    shape, dimensions = _shape(fields, name)
    if fields.get("BinaryData", "True").lower() == "false":
        raise SweepError(f"{name}: its pixels are written as text; export the file with binary pixels")
    spacing_key = next((key for key in ("ElementSpacing", "ElementSize") if key in fields), None)
    spacing = None
    if spacing_key is not None:
        values = _numbers(fields, spacing_key, dimensions, name)
        check_spacing(values, name)
        spacing = (values[1], values[0])
    block = RawBlock(
        name=name,
        path=path,
        offset=0,
        deflated=_true(fields, "CompressedData"),
        dtype=_dtype(fields, name),
        shape=shape,
        channels=_whole(fields, "ElementNumberOfChannels", 1, name),
    )
    data, offset = _locate(path, fields, header_bytes, block.total_bytes)
    block = RawBlock(**{**vars(block), "path": data, "offset": offset})
    pixels = raw_pixels(block)
    return OpenImage(pixels, read_grid(path, "MetaImageIO", shape), spacing, fields.get(RANGES_KEY))
