"""Uncompressed DICOM pixel data: number of frames, and reading frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fetaliqa.errors import SweepError
from fetaliqa.sweep.dicom_element import Header, PixelElement, inflated
from fetaliqa.sweep.dicom_layout import Layout, syntax_name

COUNTED_NOTE = "number of frames missing in the header: {count} counted in the pixel data"


def native_layout(layout: Layout, element: PixelElement, written: int | None) -> Layout:
    """Correct the layout by the length of the pixels: some YBR_FULL_422 files are not subsampled.

    Args:
        layout: layout in the header.
        element: the pixel data element.
        written: number of frames in the header.
    """
    if not layout.subsampled or element.length is None:
        return layout
    full = replace(layout, subsampled=False)
    if written is not None and element.length - _bytes_of(full, written) in (0, 1):
        note = f"pixels are not subsampled, though the header says {layout.interpretation}"
        return replace(full, notes=(*layout.notes, note))
    return layout


def _bytes_of(layout: Layout, count: int) -> int:
    """Bytes of the pixels; frames of 1-bit samples are packed without gaps (PS3.5 section 8.1.1)."""
    return (layout.native_bits * count + 7) // 8


def native_count(
    layout: Layout, element: PixelElement, written: int | None, name: str
) -> tuple[int, tuple[str, ...]]:
    """Number of frames, and notes for the user.

    Args:
        layout: layout of the frames.
        element: the pixel data element.
        written: number of frames in the header; None if missing.
        name: the file, for messages.

    Raises:
        SweepError: when there are fewer or more pixels than the header declares.
    """
    if element.length is None:
        raise SweepError(
            f"{name}: its header is contradictory (pixels in fragments, though the transfer syntax is "
            f"{syntax_name(layout.syntax)}); export it again"
        )
    if layout.subsampled and layout.columns % 2:
        raise SweepError(
            f"{name}: {layout.interpretation} with {layout.columns} columns: an even number is needed"
        )
    present = element.length if element.available is None else min(element.length, element.available)
    stored = element.length * 8 // layout.native_bits
    count = written or max(1, stored)
    needed = _bytes_of(layout, count)
    if present < needed:
        raise SweepError(
            f"{name}: truncated, {present:,} of {needed:,} bytes of pixels are there ({count} frames); "
            "copy or export the file again"
        )
    surplus = element.length - needed
    if stored > count:
        raise SweepError(
            f"{name}: holds {stored} frames where its header declares {count} ({surplus:,} bytes of pixels more); "
            "export it again"
        )
    notes = []
    if written is None and count > 1:
        notes.append(COUNTED_NOTE.format(count=count))
        if surplus > 1:
            raise SweepError(
                f"{name}: the number of frames is missing in its header, and its pixels are {count} frames and "
                f"{surplus:,} bytes; export it again"
            )
    if surplus > 1:  # one byte makes the length even
        notes.append(f"{surplus:,} bytes after the last frame ignored: less than a frame")
    return count, tuple(notes)


def native_frames(path: Path, header: Header, layout: Layout, count: int) -> Iterator[bytes]:
    """Yield the bytes of each frame.

    Raises:
        SweepError: when the file is truncated.
    """
    element = header.element
    assert element is not None
    if header.inflated_from is None:
        with open(path, "rb") as file:
            file.seek(element.offset)
            yield from _frames(file.read, layout, count, path.name)
    else:
        with inflated(path, header.inflated_from) as read:
            read(element.offset)
            yield from _frames(read, layout, count, path.name)


def _frames(read: Callable[[int], bytes], layout: Layout, count: int, name: str) -> Iterator[bytes]:
    bits, swapped = layout.native_bits, layout.words and not layout.little_endian and layout.allocated == 8
    if bits % (16 if swapped else 8):  # frames do not begin at byte (or word) boundaries
        yield from _cut(_in_order(read(_bytes_of(layout, count) + swapped), swapped), bits, count, name)
        return
    for number in range(count):
        data = read(bits // 8)
        if len(data) < bits // 8:
            raise SweepError(
                f"{name}: truncated, {number} of {count} frames are there; copy or export the file again"
            )
        yield _in_order(data, swapped)


def _in_order(data: bytes, swapped: bool) -> bytes:
    """Undo the byte swap of big-endian words (PS3.5 section 8.1.1)."""
    return np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes() if swapped else data


def _cut(data: bytes, bits: int, count: int, name: str) -> Iterator[bytes]:
    """Frames that do not begin at byte boundaries."""
    if len(data) * 8 < bits * count:
        raise SweepError(f"{name}: truncated within {count} frames; copy or export the file again")
    if bits % 8 == 0:
        yield from (data[number * bits // 8 : (number + 1) * bits // 8] for number in range(count))
        return
    values = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    for number in range(count):
        yield np.packbits(values[number * bits : (number + 1) * bits], bitorder="little").tobytes()
