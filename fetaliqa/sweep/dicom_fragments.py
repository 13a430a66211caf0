"""Fragments of compressed (encapsulated) DICOM pixel data, assigned to frames (PS3.5 section A.4).

Only the headers of the fragments are read first; a frame's bytes are read when it is decoded.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from fetaliqa.errors import SweepError
from fetaliqa.sweep.dicom_element import UNDEFINED, PixelElement, no_pixels
from fetaliqa.sweep.dicom_layout import Layout, syntax_name
from fetaliqa.sweep.dicom_native import COUNTED_NOTE

ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
ITEM_HEADER = 8  # bytes: tag and length
MAX_ITEMS = 10_000_000  # limit for damaged files
IMAGE_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
"""First bytes of JPEG and JPEG-LS, and of JPEG 2000 (raw, and in a JP2 box); they do not occur within an image."""
RLE_HEADER, MAX_SEGMENTS = 64, 15  # bytes before the first segment of an RLE frame, PS3.5 section G.5


@dataclass(frozen=True)
class Fragment:
    """A fragment of pixel data: offset in the file, length, and first bytes."""

    offset: int
    length: int
    start: bytes


Frame = tuple[Fragment, ...]


def read_fragments(file: BinaryIO, element: PixelElement, name: str) -> tuple[list[int], list[Fragment]]:
    """The basic offset table, and the other fragments.

    Args:
        file: the open file.
        element: the pixel data element.
        name: the file, for messages.

    Raises:
        SweepError: when the fragments are damaged, or the file ends within them.
    """
    available = element.available or 0
    end = element.offset + (available if element.length is None else min(element.length, available))
    position = element.offset
    items: list[Fragment] = []
    while len(items) < MAX_ITEMS:
        file.seek(position)
        header = file.read(ITEM_HEADER)
        if position + ITEM_HEADER > end or header[:4] == DELIMITER:
            break
        length = struct.unpack("<L", header[4:])[0]
        if header[:4] != ITEM or length == UNDEFINED:
            raise _damaged(name, items)
        position += ITEM_HEADER
        if position + length > end:
            raise SweepError(
                f"{name}: truncated, its pixel data end within fragment {len(items)}; copy or export it again"
            )
        items.append(Fragment(position, length, file.read(min(length, 16))))
        position += length
    if element.length is None and header[:4] != DELIMITER:
        raise SweepError(
            f"{name}: truncated, its pixel data have no end after {max(0, len(items) - 1)} fragments; "
            "copy or export the file again"
        )
    if len(items) < 2:
        raise no_pixels(name)
    file.seek(items[0].offset)
    table = file.read(items[0].length)
    offsets = list(struct.unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4]))
    fragments = [fragment for fragment in items[1:] if fragment.length]
    if not fragments:
        raise no_pixels(name)
    return offsets, fragments


def _damaged(name: str, items: Sequence[Fragment]) -> SweepError:
    if not items:
        return SweepError(
            f"{name}: its header is contradictory (a compressed transfer syntax, but pixels that are not in "
            "fragments); export it again"
        )
    return SweepError(
        f"{name}: its pixel data are damaged after fragment {len(items) - 1}; copy or export it again"
    )


def _by_offsets(offsets: Sequence[int], fragments: Sequence[Fragment]) -> list[Frame] | None:
    """Frames by a table of offsets from the first fragment's header; None when they do not match fragments."""
    first = fragments[0].offset
    places = {fragment.offset - first: number for number, fragment in enumerate(fragments)}
    if not offsets or offsets[0] != 0 or any(offset not in places for offset in offsets):
        return None
    numbers = [places[offset] for offset in offsets]
    if any(later <= earlier for earlier, later in itertools.pairwise(numbers)):
        return None
    return [tuple(fragments[start:stop]) for start, stop in zip(numbers, [*numbers[1:], len(fragments)])]


def _begins_frame(start: bytes, syntax: str) -> bool:
    """Whether an encoded frame begins with these bytes."""
    if syntax != RLELossless:
        return start.startswith(IMAGE_STARTS)
    segments, first = struct.unpack("<LL", start[:8].ljust(8, b"\0"))
    return 1 <= segments <= MAX_SEGMENTS and first == RLE_HEADER


def _by_starts(fragments: Sequence[Fragment], syntax: str) -> list[Frame]:
    """Frames by the first bytes of images."""
    frames: list[list[Fragment]] = []
    for fragment in fragments:
        if not frames or _begins_frame(fragment.start, syntax):
            frames.append([fragment])
        else:
            frames[-1].append(fragment)
    return [tuple(frame) for frame in frames]


def _extended_offsets(dataset: Dataset) -> list[int]:
    table = dataset.get("ExtendedOffsetTable")
    return list(struct.unpack(f"<{len(table) // 8}Q", table)) if isinstance(table, bytes) else []


def find_frames(
    file: BinaryIO, dataset: Dataset, layout: Layout, element: PixelElement, written: int | None, name: str
) -> tuple[list[Frame], tuple[str, ...]]:
    """The fragments of each frame, and notes for the user.

    Offset tables are used when they match the fragments and the number of frames; else frames are found by the
    first bytes of their format.

    Raises:
        SweepError: when there are fewer or more frames than the header says.
    """
    basic, fragments = read_fragments(file, element, name)
    notes: list[str] = []
    by_starts = _by_starts(fragments, str(layout.syntax))
    frames = by_starts
    for kind, offsets in (("extended", _extended_offsets(dataset)), ("basic", basic)):
        if not offsets or layout.syntax == RLELossless:
            continue
        by_table = _by_offsets(offsets, fragments)
        if by_table is not None and len(by_table) == (written or len(by_starts)):
            frames = by_table
            break
        notes.append(f"the {kind} offset table does not match the frames and was not used")
    if written is not None and len(frames) != written:
        raise SweepError(
            f"{name}: holds {len(frames)} frames where its header declares {written} "
            f"({syntax_name(layout.syntax)}, {len(fragments)} fragments); export it again"
        )
    if written is None and len(frames) > 1:
        notes.append(COUNTED_NOTE.format(count=len(frames)))
    return frames, tuple(notes)


def frame_reader(path: Path, frames: Sequence[Frame]) -> Callable[[], Iterator[bytes]]:
    """A function that reads the bytes of each frame."""

    def read() -> Iterator[bytes]:
        with open(path, "rb") as file:
            for frame in frames:
                parts = []
                for fragment in frame:
                    file.seek(fragment.offset)
                    parts.append(file.read(fragment.length))
                yield b"".join(parts)

    return read
