"""Fast compression of mask stacks, in which most frames are empty: empty frames are compressed once.

A deflate stream can be concatenated from pieces that end at a byte boundary and contain no back references to
earlier pieces (RFC 1951; zlib's full flush). Only the checksum covers the whole content. Adler-32 of zeros has a
closed form, and the CRC-32 of a concatenation follows from those of its parts.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from itertools import groupby
from typing import Protocol

from isal import isal_zlib

LEVEL = 1  # of isal's 0 to 3; on masks smaller than zlib's level 6, in a fiftieth of the time
RAW = -15  # zlib's wbits for deflated bytes without header and checksum
PIECE_BYTES = 1 << 18  # bytes of zeros per piece; small empty frames share one
LAST_BLOCK = b"\x03\x00"  # an empty final block
ADLER_BASE = 65521  # RFC 1950


class Wrapping(Protocol):
    """Header and trailer of a compressed format."""

    header: bytes

    def add(self, content: bytes | memoryview) -> None:
        """Update the checksum with content."""

    def add_zeros(self, count: int) -> None:
        """Update the checksum with zeros."""

    def trailer(self) -> bytes:
        """The trailer of the stream."""


class ZlibWrapping:
    """zlib format (RFC 1950), as in .mha files."""

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
    """gzip format (RFC 1952), as in .nii.gz and .nrrd files, without name and time."""

    header = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"

    def __init__(self) -> None:
        self._crc = self._size = 0
        self._zeros: dict[int, int] = {}  # CRC-32 of zeros, by their number

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


def deflated(preamble: bytes, frames: Iterable[memoryview | None], size: int, wrapping: Wrapping) -> list[bytes]:
    """Compress frames; returns the parts of one stream.

    Args:
        preamble: bytes before the frames.
        frames: bytes of each frame; None for all zeros.
        size: bytes of a frame.
        wrapping: a new wrapping.
    """
    many = max(1, PIECE_BYTES // size)
    empty = {count: _piece(bytes(count * size)) for count in {1, many}}
    parts = [wrapping.header]
    if preamble:
        parts.append(_piece(preamble))
        wrapping.add(preamble)
    for is_empty, run in groupby(frames, lambda frame: frame is None):
        if is_empty:
            count = sum(1 for _ in run)
            parts += [empty[many]] * (count // many) + [empty[1]] * (count % many)
            for _ in range(count):
                wrapping.add_zeros(size)  # frame by frame: the checksum of this size is cached
            continue
        for frame in run:
            assert frame is not None
            parts.append(_piece(frame))
            wrapping.add(frame)
    return [*parts, LAST_BLOCK, wrapping.trailer()]


def _piece(content: bytes | memoryview) -> bytes:
    packer = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, RAW)
    return packer.compress(content) + packer.flush(isal_zlib.Z_FULL_FLUSH)
