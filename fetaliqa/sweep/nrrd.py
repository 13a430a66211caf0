"""NRRD files (.nrrd, .nhdr); format: http://teem.sourceforge.net/nrrd/format.html.

pynrrd (tried with 1.1.3) is not used: its ``read_header`` rejects files that are read here (repeated equal fields,
lists of pixel files), has no limits for damaged headers, and would replace 20 lines.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fetaliqa.errors import SweepError
from fetaliqa.sweep.detached_pixels import BYTE_ORDER_MARK, is_list, pixel_files, text_of
from fetaliqa.sweep.image_orientation import stored_axes_note
from fetaliqa.sweep.nrrd_axes import find_axes, find_grid, find_spacing
from fetaliqa.sweep.raw_pixels import RawBlock, raw_pixels
from fetaliqa.sweep.volume_file import RANGES_KEY, OpenImage

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
MAX_HEADER_BYTES = 16 << 20
MAX_LINE_BYTES = 1 << 20
MAX_SKIPPED_LINES = 10_000


def _read_fields(file: BinaryIO, name: str) -> dict[str, str]:
    """Header fields (in lower case) and key/value pairs.

    ``file`` is left after the empty line that ends the header, or before the first name of a list of pixel files.
    """
    if not file.readline(MAX_LINE_BYTES).removeprefix(BYTE_ORDER_MARK).startswith(b"NRRD000"):
        raise SweepError(
            f"{name}: is not an NRRD file, it does not begin with 'NRRD000'; export the sweep as .mha"
        )
    fields: dict[str, str] = {}
    while file.tell() < MAX_HEADER_BYTES:
        raw = file.readline(MAX_LINE_BYTES)
        line = text_of(raw).rstrip("\r\n")
        if not line and (raw or _data_file(fields) is not None):  # a detached header may end without an empty line
            return fields
        if not raw:
            break
        match = re.match(r"([^:#]+):([= ])(.*)", line)
        if match:
            key, separator, value = match.groups()
            key = key.strip() if separator == "=" else key.strip().lower()
            if fields.setdefault(key, value.strip()) != value.strip():
                raise SweepError(
                    f"{name}: header line {key[:40]!r} occurs twice with different values; export it again"
                )
            if key in ("data file", "datafile") and is_list(value.strip()):
                return fields
    raise SweepError(f"{name}: the end of its header is missing; export the file again")


def _sizes(fields: dict[str, str], name: str) -> list[int]:
    words = fields.get("sizes", "").split()
    if not words or not all(re.fullmatch(r"\d{1,9}", word) for word in words):
        raise SweepError(f"{name}: header line 'sizes: {' '.join(words)[:60]}'; whole numbers expected there")
    if fields.get("dimension", "") != str(len(words)):
        raise SweepError(
            f"{name}: header lines 'dimension: {fields.get('dimension', '')[:20]}' and 'sizes: "
            f"{' '.join(words)[:60]}' contradict each other; export the file again"
        )
    return [int(word) for word in words]


def _data_file(fields: dict[str, str]) -> str | None:
    """The detached pixel file in the header; None when the pixels follow the header."""
    return fields.get("data file", fields.get("datafile"))


def _number(fields: dict[str, str], spaced: str, name: str) -> int:
    """Value of a field that is written with or without a space in its name; 0 when absent."""
    word = fields.get(spaced, fields.get(spaced.replace(" ", ""), "0"))
    if not re.fullmatch(r"-?\d{1,12}", word):
        raise SweepError(f"{name}: header line '{spaced}: {word[:20]}'; a whole number is expected there")
    return int(word)


def _located(block: RawBlock, fields: dict[str, str], header_bytes: int, files: list[Path]) -> RawBlock:
    """The block with the location of its pixels. Lines are skipped before, bytes after decompression.

    A byte skip of -1 means that the pixels are the last bytes of the file.
    """
    lines, skip = _number(fields, "line skip", block.name), _number(fields, "byte skip", block.name)
    several = len(files) > 1
    if not 0 <= lines <= MAX_SKIPPED_LINES or skip < -1 or (skip == -1 and block.deflated):
        raise SweepError(
            f"{block.name}: NRRD files with line skip {lines} and byte skip {skip} cannot be read; export as .mha"
        )
    if several and (lines or block.deflated or not block.order.startswith("t")):
        raise SweepError(
            f"{block.name}: pixels spread over {len(files)} files are read when each is one frame, not "
            "compressed, without lines to skip; export it as one .mha"
        )
    offset = 0 if files[0] != block.path else header_bytes
    if skip == -1:
        size = block.frame_bytes if several else block.total_bytes
        offset, skip = max(0, files[0].stat().st_size - size), 0
    elif lines:
        with open(files[0], "rb") as file:
            file.seek(offset)
            for _ in range(lines):
                file.readline(MAX_LINE_BYTES)
            offset = file.tell()
    if not block.deflated:
        offset, skip = offset + skip, 0
    return replace(block, path=files[0], offset=offset, skip=skip, frame_files=tuple(files) if several else ())


def _files(path: Path, fields: dict[str, str], names: list[str], frames: int) -> list[Path]:
    written = _data_file(fields)
    return [path] if written is None else pixel_files(path, written, names, frames)


def _names_after(file: BinaryIO, fields: dict[str, str]) -> list[str]:
    """Names of pixel files after the header, if it declares a list."""
    return text_of(file.read(MAX_HEADER_BYTES)).splitlines() if is_list(_data_file(fields) or "") else []


def is_local(path: Path) -> bool:
    """Whether an NRRD file's pixels follow its header in the same file.

    Raises:
        SweepError: when it is not an NRRD file.
    """
    with open(path, "rb") as file:
        return _data_file(_read_fields(file, path.name)) is None


def files_of_nrrd(path: Path) -> list[Path]:
    """The pixel files of an NRRD file: ``path`` itself, or those named in its header.

    Raises:
        SweepError: when it is not an NRRD file, or a pixel file is missing or outside of the header's folder.
    """
    with open(path, "rb") as file:
        fields = _read_fields(file, path.name)
        names = _names_after(file, fields)
    return _files(path, fields, names, find_axes(fields, _sizes(fields, path.name), path.name).layout.shape[0])


def open_nrrd(path: Path) -> OpenImage:
    """Open a .nrrd or .nhdr file and its pixel files.

    Raises:
        SweepError: when it is not an NRRD file, or its header is invalid.
    """
    name = path.name
    with open(path, "rb") as file:
        fields = _read_fields(file, name)
        header_bytes = file.tell()
        names = _names_after(file, fields)
    axes = find_axes(fields, _sizes(fields, name), name)
    spacing, notes = find_spacing(fields, axes, name)
    dtype = DTYPES.get(fields.get("type", "").lower())
    encoding = fields.get("encoding", "").lower()
    if dtype is None or encoding not in ("raw", "gzip", "gz"):
        raise SweepError(
            f"{name}: type {fields.get('type', '')!r} with encoding {encoding!r} cannot be read; "
            "export the file as unsigned char, raw or gzip"
        )
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if order is None and dtype[1] != "1":
        raise SweepError(f"{name}: its byte order (header field 'endian') is missing; export it again")
    block = RawBlock(
        name=name,
        path=path,
        offset=0,
        deflated=encoding != "raw",
        dtype=np.dtype((order or "<") + dtype),
        shape=axes.layout.shape,
        channels=axes.layout.channels,
        order=axes.layout.order,
    )
    block = _located(block, fields, header_bytes, _files(path, fields, names, axes.layout.shape[0]))
    pixels = raw_pixels(block)
    grid = find_grid(fields, axes, name)
    turned = stored_axes_note(grid.direction)
    notes = (*axes.notes, *notes, *(() if turned is None else (turned,)))
    return OpenImage(pixels, grid, spacing, fields.get(RANGES_KEY), notes)
