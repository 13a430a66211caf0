"""Streaming of pixels that are stored as one block, uncompressed or deflated, a slab at a time.

No more bytes are decompressed than the header declares, plus one to detect surplus data.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from isal import isal_zlib

from fetaliqa.errors import SweepError
from fetaliqa.size_limits import check_unpacked_size
from fetaliqa.sweep.pixel_conversion import ALPHA_NOTE, LUMA_NOTE, Pixels, luma
from fetaliqa.sweep.volume_axes import STREAMED

SLAB_BYTES = 2 << 20  # a few frames: full speed, with small intermediate floats (8 bytes a value)
CHUNK_BYTES = 1 << 16  # compressed bytes read at a time; the unconsumed rest is copied at every call
INFLATED_BYTES = 1 << 18  # decompressed at a time, so that they are copied from the CPU cache
MAX_DEFLATE_RATIO = 1040  # deflate reaches at most 1032:1 (zlib's technical notes); plus a margin for headers
ZLIB_OR_GZIP = 47  # zlib's wbits to detect either header
DAMAGED = cast("type[Exception]", isal_zlib.error)  # its type stub is wrong


@dataclass(frozen=True)
class RawBlock:
    """Location and storage of an image's pixels.

    Attributes:
        name: the file the user named, for messages.
        path: the file that holds the pixels.
        offset: offset of the block in ``path``.
        skip: bytes to skip after decompression (a NIfTI header is deflated too).
        deflated: whether the block is a zlib or gzip stream.
        dtype: type of a value, with byte order.
        shape: (T, H, W).
        channels: values per pixel: 1, 3 (RGB) or 4 (RGBA).
        rescale: (slope, intercept) to apply, or None.
        frame_files: files with one frame each, after ``offset`` bytes, instead of ``path``.
        order: axes, slowest first, see ``volume_axes.Layout``. Consecutive frames are streamed; for any other
            order the block is held in memory, in its own type.
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
    frame_files: tuple[Path, ...] = ()
    order: str = STREAMED

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

    complete = True
    followed = False

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


class _FrameFiles:
    """Bytes of files with one frame each, read by whole frames."""

    complete = True
    followed = False

    def __init__(self, block: RawBlock) -> None:
        self._block, self._paths = block, iter(block.frame_files)

    def read_into(self, target: memoryview) -> int:
        """Fill ``target``; return how many bytes there were."""
        filled = 0
        for path in itertools.islice(self._paths, len(target) // self._block.frame_bytes):
            with open(path, "rb") as file:
                file.seek(self._block.offset)
                count = _PlainStream(file).read_into(target[filled : filled + self._block.frame_bytes])
            filled += count
            if count < self._block.frame_bytes:
                break
        return filled


class _InflatingStream:
    """Decompressed bytes of a zlib stream or of gzip members, with verified checksums.

    Uses igzip: zlib takes twice as long for frames, and five times as long for masks.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflater = isal_zlib.decompressobj(ZLIB_OR_GZIP)
        self._waiting = b""
        self.followed = False  # by bytes other than zeros, with which some tools pad

    def read_into(self, target: memoryview) -> int:
        """Fill ``target``; return how many bytes there were. Raises DAMAGED on damaged data."""
        filled = 0
        while filled < len(target):
            if self._inflater.eof:
                self._waiting = self._inflater.unused_data or self._file.read(CHUNK_BYTES)
                if self._waiting[:2] != b"\x1f\x8b":  # no further gzip member
                    self.followed = bool(self._waiting.strip(b"\0"))
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


_Stream = _PlainStream | _FrameFiles | _InflatingStream


def _truncated(block: RawBlock, available: int) -> SweepError:
    count, height, width = block.shape
    return SweepError(
        f"{block.name}: truncated, {available:,} of {block.total_bytes:,} bytes of pixels are there "
        f"({count} frames of {height} x {width}); copy or export the file again"
    )


def _surplus(block: RawBlock) -> SweepError:
    count, height, width = block.shape
    return SweepError(
        f"{block.name}: holds more pixels than its header declares ({count} frames of {height} x {width}); "
        "export the file again"
    )


def _check_size(block: RawBlock) -> tuple[str, ...]:
    """Check the size of a block against its header before memory is allocated.

    Returns:
        The note on bytes after the pixels.
    """
    if block.frame_files:
        wrong = [path for path in block.frame_files if path.stat().st_size != block.offset + block.frame_bytes]
        if wrong:
            raise SweepError(
                f"{block.name}: {wrong[0].name} does not hold one frame of {block.shape[1]} x {block.shape[2]} "
                f"({block.frame_bytes:,} bytes); copy or export the files again"
            )
        return ()
    stored = block.path.stat().st_size
    available = stored - block.offset
    needed = block.total_bytes + block.skip
    if available < (needed / MAX_DEFLATE_RATIO if block.deflated else needed):
        raise _truncated(block, max(0, available - (0 if block.deflated else block.skip)))
    check_unpacked_size(block.name, needed, stored)
    surplus = available - needed
    if block.deflated or surplus == 0:
        return ()
    if surplus >= block.frame_bytes:
        raise _surplus(block)
    return (f"{surplus:,} bytes after the last frame ignored: less than a frame",)


def _grey(slab: np.ndarray, block: RawBlock) -> np.ndarray:
    if block.channels > 1:
        slab = luma(slab)
    if block.rescale is not None:
        slope, intercept = block.rescale
        slab = slab * np.float64(slope) + np.float64(intercept)
    return slab


def _skip(stream: _Stream, count: int) -> None:
    buffer = memoryview(bytearray(min(count, INFLATED_BYTES)))
    while count > 0:
        skipped = stream.read_into(buffer[: min(count, len(buffer))])
        if not skipped:
            return
        count -= skipped


def _streamed(block: RawBlock, stream: _Stream) -> Iterator[np.ndarray]:
    """Consecutive frames, [n, H, W] or [n, H, W, C]; a slab is overwritten by the next."""
    count, height, width = block.shape
    per_slab = max(1, min(count, SLAB_BYTES // block.frame_bytes))
    view = memoryview(bytearray(per_slab * block.frame_bytes))
    shape = (-1, height, width) if block.channels == 1 else (-1, height, width, block.channels)
    for first in range(0, count, per_slab):
        size = min(per_slab, count - first) * block.frame_bytes
        filled = stream.read_into(view[:size])
        if filled < size:
            raise _truncated(block, first * block.frame_bytes + filled)
        yield np.frombuffer(view[:size], dtype=block.dtype).reshape(shape)


def _gathered(block: RawBlock, stream: _Stream) -> Iterator[np.ndarray]:
    """Like ``_streamed``, for frames that are not consecutive in the block."""
    axes = STREAMED if block.channels == 1 else f"{STREAMED}c"
    lengths = dict(zip(axes, (*block.shape, block.channels)))
    order = [axis for axis in block.order if axis in axes]
    try:
        frames = np.empty([lengths[axis] for axis in axes], block.dtype)
    except MemoryError:
        raise SweepError(
            f"{block.name}: its frames are not consecutive in the file, so all of it "
            f"({block.total_bytes / 2**30:,.1f} GiB) is needed in memory; split it into shorter sweeps"
        ) from None
    in_file = frames.transpose([axes.index(axis) for axis in order])
    plane_bytes = block.total_bytes // len(in_file)
    per_slab = max(1, min(len(in_file), SLAB_BYTES // plane_bytes))
    view = memoryview(bytearray(per_slab * plane_bytes))
    for first in range(0, len(in_file), per_slab):
        target = in_file[first : first + per_slab]
        size = len(target) * plane_bytes
        filled = stream.read_into(view[:size])
        if filled < size:
            raise _truncated(block, first * plane_bytes + filled)
        target[...] = np.frombuffer(view[:size], dtype=block.dtype).reshape(target.shape)
    per_slab = max(1, SLAB_BYTES // block.frame_bytes)
    for first in range(0, len(frames), per_slab):
        yield frames[first : first + per_slab]


def _slabs(block: RawBlock) -> Iterator[np.ndarray]:
    with open(block.path, "rb") as file:
        file.seek(block.offset)
        stream: _Stream = _InflatingStream(file) if block.deflated else _PlainStream(file)
        if block.frame_files:
            stream = _FrameFiles(block)
        in_order = block.order in (STREAMED, f"{STREAMED}c")
        try:
            _skip(stream, block.skip)
            for slab in (_streamed if in_order else _gathered)(block, stream):
                yield _grey(slab, block)
            if block.deflated and stream.read_into(memoryview(bytearray(1))):
                raise _surplus(block)
        except DAMAGED as error:
            raise SweepError(
                f"{block.name}: its compressed pixels are damaged ({error}); copy or export the file again"
            ) from None
        if not stream.complete:
            raise SweepError(
                f"{block.name}: truncated, its compressed pixels end before their checksum; "
                "copy or export the file again"
            )
        if stream.followed:
            raise SweepError(
                f"{block.name}: other data follow its compressed pixels; copy or export the file again"
            )


def raw_pixels(block: RawBlock) -> Pixels:
    """Return the pixels of ``block`` as grey slabs.

    Raises:
        SweepError: at once when the file is too short or too long, exceeds the size limit, or its pixels are
            neither grey nor RGB(A); while reading when it is truncated or damaged.
    """
    if block.channels not in (1, 3, 4):
        raise SweepError(
            f"{block.name}: {block.channels} values per pixel; grey (1), RGB (3) and RGBA (4) can be read"
        )
    notes = _check_size(block)
    if block.channels > 1:
        notes = (LUMA_NOTE, *((ALPHA_NOTE,) if block.channels == 4 else ()), *notes)
    return Pixels(block.shape, lambda: _slabs(block), notes)
