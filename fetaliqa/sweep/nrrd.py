"""NRRD files (.nrrd), header fields as defined at http://teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import math
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

TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
DTYPES = {spelling: dtype for dtype, spellings in TYPES.items() for spelling in spellings}
DOMAIN_KINDS = ("domain", "space", "time")  # axes along which pixels lie; others hold the values of one pixel
MAX_HEADER_BYTES = 16 << 20
MAX_LINE_BYTES = 1 << 20


def _read_fields(file: BinaryIO, name: str) -> dict[str, str]:
    """Header fields (lower case) and key/value pairs; ``file`` is left after the empty line that ends them."""
    if not file.readline(MAX_LINE_BYTES).startswith(b"NRRD000"):
        raise SweepError(
            f"{name}: is not an NRRD file, it does not begin with 'NRRD000'; export the sweep as .mha"
        )
    fields: dict[str, str] = {}
    while file.tell() < MAX_HEADER_BYTES:
        raw = file.readline(MAX_LINE_BYTES)
        if not raw:
            break
        line = raw.decode("latin-1").rstrip("\r\n")
        if not line:
            return fields
        found = re.match(r"([^:#]+):([= ])(.*)", line)
        if found:
            key, separator, value = found.groups()
            fields[key.strip() if separator == "=" else key.strip().lower()] = value.strip()
    raise SweepError(f"{name}: its header has no end; export the file again")


def _sizes(fields: dict[str, str], name: str) -> list[int]:
    words = fields.get("sizes", "").split()
    if not words or not all(re.fullmatch(r"\d{1,9}", word) for word in words):
        raise SweepError(f"{name}: header line 'sizes: {' '.join(words)[:60]}'; whole numbers expected there")
    return [int(word) for word in words]


def _has_channel_axis(fields: dict[str, str]) -> bool:
    """Whether the first axis holds the colours of a pixel."""
    kinds = fields.get("kinds", "").lower().split()
    if kinds:
        return kinds[0] not in (*DOMAIN_KINDS, "???", "none")
    return fields.get("space directions", "").lower().startswith("none")


def _spacing(fields: dict[str, str], name: str) -> tuple[float, float] | None:
    """(row, column) spacing in mm, None when the header has none."""
    if "space directions" in fields:
        vectors = re.findall(r"\(([^)]*)\)", fields["space directions"])
        try:
            lengths = [math.hypot(*(float(part) for part in vector.split(","))) for vector in vectors]
        except ValueError:
            raise SweepError(f"{name}: its 'space directions' are not numbers; export the file again") from None
    elif "spacings" in fields:
        words = [word for word in fields["spacings"].split() if word.lower() != "nan"]
        try:
            lengths = [float(word) for word in words]
        except ValueError:
            raise SweepError(f"{name}: its 'spacings' are not numbers; export the file again") from None
    else:
        return None
    check_spacing(lengths, name)
    return (lengths[1], lengths[0]) if len(lengths) >= 2 else None


def _data_file(fields: dict[str, str]) -> str | None:
    """The other file that the header names for the pixels, None when they follow it."""
    return fields.get("data file", fields.get("datafile"))


def _locate(path: Path, fields: dict[str, str], header_bytes: int) -> tuple[Path, int]:
    """File and offset of the pixels."""
    if fields.get("line skip", "0") != "0":
        raise SweepError(f"{path.name}: NRRD files with a line skip cannot be read; export the sweep as .mha")
    skip = fields.get("byte skip", "0")
    if not re.fullmatch(r"\d{1,12}", skip):
        raise SweepError(f"{path.name}: NRRD files with byte skip {skip[:20]} cannot be read; export as .mha")
    written = _data_file(fields)
    if written is None:
        return path, header_bytes + int(skip)
    if written.upper().startswith("LIST") or "%" in written:
        raise SweepError(f"{path.name}: its pixels are spread over several files; export the sweep as one .mha")
    return data_file_beside(path, written), int(skip)


def is_local(path: Path) -> bool:
    """Whether an NRRD file's pixels follow its header in the same file.

    Raises:
        SweepError: when it is no NRRD file.
    """
    with open(path, "rb") as file:
        return _data_file(_read_fields(file, path.name)) is None


def pixel_file(path: Path) -> Path:
    """The file that holds an NRRD's pixels: ``path`` itself, or the one that its header names.

    Raises:
        SweepError: when it is no NRRD file, or that file is missing or lies outside of the header's folder.
    """
    with open(path, "rb") as file:
        written = _data_file(_read_fields(file, path.name))
    return path if written is None else data_file_beside(path, written)


def open_nrrd(path: Path) -> OpenImage:
    """Open a .nrrd file.

    Raises:
        SweepError: when it is no NRRD file or its header cannot be used.
    """
    name = path.name
    with open(path, "rb") as file:
        fields = _read_fields(file, name)
        header_bytes = file.tell()
    sizes = _sizes(fields, name)
    channels = sizes.pop(0) if _has_channel_axis(fields) and len(sizes) > 2 else 1
    shape = checked_shape(sizes, name)
    spacing = _spacing(fields, name)
    dtype = DTYPES.get(fields.get("type", "").lower())
    encoding = fields.get("encoding", "").lower()
    if dtype is None or encoding not in ("raw", "gzip", "gz"):
        raise SweepError(
            f"{name}: type {fields.get('type', '')!r} with encoding {encoding!r} cannot be read; "
            "export the file as unsigned char, raw or gzip"
        )
    data, offset = _locate(path, fields, header_bytes)
    order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    block = RawBlock(
        name=name,
        path=data,
        offset=offset,
        deflated=encoding != "raw",
        dtype=np.dtype(order + dtype),
        shape=shape,
        channels=channels,
    )
    pixels = raw_pixels(block)
    return OpenImage(pixels, read_grid(path, "NrrdImageIO", shape), spacing, fields.get(RANGES_KEY))
