"""Frames deflated one by one and put together, most of them empty: the bytes of empty ones are made once.

A deflate stream may be put together from pieces that each end at a byte and look back at nothing before them
(RFC 1951; zlib's full flush). Only the checksum at the end is of all that is unpacked. Over zeros Adler-32 has a
closed form, and CRC-32 of two texts in a row follows from that of each.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from itertools import groupby
from typing import Protocol

from isal import isal_zlib

LEVEL = 1  # of isal's 0 to 3; on masks it is smaller than zlib's 6, in a fiftieth of the time
RAW = -15  # zlib's wbits: deflated bytes without header and checksum
PIECE_BYTES = 1 << 18  # of zeros; each piece costs some bytes, so small empty frames share one
LAST_BLOCK = b"\x03\x00"  # a block without content that says it is the last
ADLER_BASE = 65521  # RFC 1950


class Wrapping(Protocol):
    """What stands before and after the deflated bytes."""

    header: bytes

    def add(self, content: bytes | memoryview) -> None:
        """Take what comes next into the checksum."""

    def add_zeros(self, count: int) -> None:
        """As many zeros."""

    def trailer(self) -> bytes:
        """What ends the stream."""


class ZlibWrapping:
    """RFC 1950, as in .mha files."""

    header = b"\x78\x01"  # deflate, a window of 32 KiB, the fastest level

    def __init__(self) -> None:
        self._adler = zlib.adler32(b"")

    def add(self, content: bytes | memoryview) -> None:
        self._adler = zlib.adler32(content, self._adler)

    def add_zeros(self, count: int) -> None:
        low, high = self._adler & 0xFFFF, self._adler >> 16
        self._adler = (high + count * low) % ADLER_BASE << 16 | low

    def trailer(self) -> bytes:
        return struct.pack(">I", self._adler)


class GzipWrapping:
    """RFC 1952, as in .nii.gz and .nrrd files; without a name and a time."""

    header = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"

    def __init__(self) -> None:
        self._crc = self._size = 0
        self._zeros: dict[int, int] = {}  # CRC-32 of so many

    def add(self, content: bytes | memoryview) -> None:
        self._crc = isal_zlib.crc32(content, self._crc)
        self._size += len(content)

    def add_zeros(self, count: int) -> None:
        if count not in self._zeros:
            self._zeros[count] = isal_zlib.crc32(bytes(count))
        self._crc = isal_zlib.crc32_combine(self._crc, self._zeros[count], count)
        self._size += count

    def trailer(self) -> bytes:
        return struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)


def deflated(begun: bytes, frames: Iterable[memoryview | None], size: int, wrapping: Wrapping) -> list[bytes]:
    """The parts of one stream.

    Args:
        begun: what comes before the frames.
        frames: each frame's bytes; None for one that is all zeros.
        size: bytes of a frame.
        wrapping: a fresh one.
    """
    many = max(1, PIECE_BYTES // size)
    empty = {count: _piece(bytes(count * size)) for count in {1, many}}
    parts = [wrapping.header]
    if begun:
        parts.append(_piece(begun))
        wrapping.add(begun)
    for is_empty, run in groupby(frames, lambda frame: frame is None):
        if is_empty:
            count = sum(1 for _ in run)
            parts += [empty[many]] * (count // many) + [empty[1]] * (count % many)
            for _ in range(count):
                wrapping.add_zeros(size)  # of one size, whose checksum is known after the first
            continue
        for frame in run:
            assert frame is not None
            parts.append(_piece(frame))
            wrapping.add(frame)
    return [*parts, LAST_BLOCK, wrapping.trailer()]


def _piece(content: bytes | memoryview) -> bytes:
    packer = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, RAW)
    return packer.compress(content) + packer.flush(isal_zlib.Z_FULL_FLUSH)
