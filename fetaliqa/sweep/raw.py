"""Pixels that lie in a file as one block, plain or deflated, read a slab at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from isal import isal_zlib

from fetaliqa.errors import SweepError
from fetaliqa.sweep.pixels import ALPHA_NOTE, LUMA_NOTE, Pixels, luma

SLAB_BYTES = 2 << 20  # a few frames: full speed, and intermediate floats (8 bytes a value) stay small
CHUNK_BYTES = 1 << 16  # compressed bytes read at a time: what is left of them is copied at every call
INFLATED_BYTES = 1 << 18  # made at a time: they are still in the processor's cache when they are copied
MAX_DEFLATE_RATIO = 1040  # deflate cannot do better than 1032:1 (zlib's technical notes); a margin for headers
ZLIB_OR_GZIP = 47  # zlib's wbits: recognise either header
DAMAGED = cast("type[Exception]", isal_zlib.error)  # whose type stub calls the class an instance


@dataclass(frozen=True)
class RawBlock:
    """Where the pixels of an image lie and how they are stored; x varies fastest, then y, then frames.

    Attributes:
        name: the file the user named, for messages.
        path: the file that holds the pixels.
        offset: bytes of ``path`` before the (perhaps deflated) block.
        skip: bytes to skip after inflating (a NIfTI header is deflated too).
        deflated: whether the block is a zlib or gzip stream.
        dtype: type of a value, with byte order.
        shape: (T, H, W).
        channels: interleaved values per pixel: 1, 3 (RGB) or 4 (RGBA).
        rescale: (slope, intercept) to apply, or None.
    """

    name: str
    path: Path
    offset: int
    deflated: bool
    dtype: np.dtype
    shape: tuple[int, int, int]
    channels: int = 1
    skip: int = 0
    rescale: tuple[float, float] | None = None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.shape[1] * self.shape[2] * self.channels * self.dtype.itemsize

    @property
    def total_bytes(self) -> int:
        """Bytes of all frames."""
        return self.shape[0] * self.frame_bytes


class _PlainStream:
    """Bytes of a file from its current position."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read_into(self, target: memoryview) -> int:
        """Fill ``target``; return how many bytes there were."""
        filled = 0
        while filled < len(target):
            count = self._file.readinto(target[filled:])  # type: ignore[attr-defined]
            if not count:
                break
            filled += count
        return filled

    @property
    def complete(self) -> bool:
        return True


class _InflatingStream:
    """Inflated bytes of a zlib stream or of one or more gzip members; their checksums are checked.

    By igzip: zlib takes twice as long for frames, and five times for masks.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflater = isal_zlib.decompressobj(ZLIB_OR_GZIP)
        self._waiting = b""

    def read_into(self, target: memoryview) -> int:
        """Fill ``target``; return how many bytes there were. Raises DAMAGED on damaged data."""
        filled = 0
        while filled < len(target):
            if self._inflater.eof:
                self._waiting = self._inflater.unused_data or self._file.read(CHUNK_BYTES)
                if self._waiting[:2] != b"\x1f\x8b":  # no further gzip member
                    break
                self._inflater = isal_zlib.decompressobj(ZLIB_OR_GZIP)
            data = self._waiting or self._file.read(CHUNK_BYTES)
            out = self._inflater.decompress(data, min(len(target) - filled, INFLATED_BYTES))
            self._waiting = self._inflater.unconsumed_tail
            if not out and not data:
                break
            target[filled : filled + len(out)] = out
            filled += len(out)
        return filled

    @property
    def complete(self) -> bool:
        """Whether the stream ended with its checksum."""
        return self._inflater.eof


def _truncated(block: RawBlock, found: int) -> SweepError:
    count, height, width = block.shape
    return SweepError(
        f"{block.name}: truncated, {found:,} of {block.total_bytes:,} bytes of pixels are there "
        f"({count} frames of {height} x {width}); copy or export the file again"
    )


def _check_size(block: RawBlock) -> None:
    """Refuse a block that cannot hold what the header says, before any memory is taken for it."""
    available = block.path.stat().st_size - block.offset
    needed = block.total_bytes + block.skip
    if available < (needed / MAX_DEFLATE_RATIO if block.deflated else needed):
        raise _truncated(block, max(0, available - (0 if block.deflated else block.skip)))


def _grey(slab: np.ndarray, block: RawBlock) -> np.ndarray:
    if block.channels > 1:
        slab = luma(slab)
    if block.rescale is not None:
        slope, intercept = block.rescale
        slab = slab * np.float64(slope) + np.float64(intercept)
    return slab


def _slabs(block: RawBlock) -> Iterator[np.ndarray]:
    count, height, width = block.shape
    per_slab = max(1, min(count, SLAB_BYTES // block.frame_bytes))
    buffer = bytearray(per_slab * block.frame_bytes)
    view = memoryview(buffer)
    shape = (-1, height, width) if block.channels == 1 else (-1, height, width, block.channels)
    with open(block.path, "rb") as file:
        file.seek(block.offset)
        stream = _InflatingStream(file) if block.deflated else _PlainStream(file)
        try:
            stream.read_into(memoryview(bytearray(block.skip)))
            for first in range(0, count, per_slab):
                wanted = min(per_slab, count - first) * block.frame_bytes
                found = stream.read_into(view[:wanted])
                if found < wanted:
                    raise _truncated(block, first * block.frame_bytes + found)
                yield _grey(np.frombuffer(view[:wanted], dtype=block.dtype).reshape(shape), block)
            surplus = stream.read_into(view[: block.frame_bytes])
        except DAMAGED as error:
            raise SweepError(
                f"{block.name}: its compressed pixels are damaged ({error}); copy or export the file again"
            ) from None
        if surplus == block.frame_bytes:
            raise SweepError(
                f"{block.name}: holds more pixels than its header says ({count} frames of {height} x {width}); "
                "export the file again"
            )
        if not stream.complete:
            raise SweepError(
                f"{block.name}: truncated, its compressed pixels end before their checksum; "
                "copy or export the file again"
            )


def raw_pixels(block: RawBlock) -> Pixels:
    """Return the pixels of ``block`` as grey slabs.

    Raises:
        SweepError: at once when the file is too short or the pixels are neither grey nor RGB(A); while
            reading when it is truncated or damaged.
    """
    if block.channels not in (1, 3, 4):
        raise SweepError(
            f"{block.name}: {block.channels} values per pixel; grey (1), RGB (3) and RGBA (4) can be read"
        )
    _check_size(block)
    notes: tuple[str, ...] = ()
    if block.channels > 1:
        notes = (LUMA_NOTE,) if block.channels == 3 else (LUMA_NOTE, ALPHA_NOTE)
    return Pixels(block.shape, lambda: _slabs(block), notes)
