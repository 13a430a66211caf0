"""Frames of compressed (encapsulated) DICOM pixel data: which fragments belong to which frame. PS3.5 section A.4.

Only the headers of the fragments are read here; a frame's bytes are read when it is decoded.
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
MAX_ITEMS = 10_000_000  # a cine loop of hours
IMAGE_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
"""First bytes of JPEG and JPEG-LS, and of JPEG 2000 (bare, and in a JP2 box); none can stand within an image."""
RLE_HEADER, MAX_SEGMENTS = 64, 15  # bytes before the first segment of an RLE frame, PS3.5 section G.5


@dataclass(frozen=True)
class Fragment:
    """A fragment of pixel data: where it begins in the file, how long it is, and its first bytes."""

    offset: int
    length: int
    start: bytes


Frame = tuple[Fragment, ...]


def read_fragments(file: BinaryIO, element: PixelElement, name: str) -> tuple[list[int], list[Fragment]]:
    """The basic offset table, and the fragments without it.

    Args:
        file: the open file.
        element: of the pixels.
        name: the file, for messages.

    Raises:
        SweepError: when the fragments are damaged, or the file ends within them.
    """
    available = element.available or 0
    end = element.offset + (available if element.length is None else min(element.length, available))
    position = element.offset
    found: list[Fragment] = []
    while len(found) < MAX_ITEMS:
        file.seek(position)
        header = file.read(ITEM_HEADER)
        if position + ITEM_HEADER > end or header[:4] == DELIMITER:
            break
        length = struct.unpack("<L", header[4:])[0]
        if header[:4] != ITEM or length == UNDEFINED:
            raise _damaged(name, found)
        position += ITEM_HEADER
        if position + length > end:
            raise SweepError(
                f"{name}: truncated, its pixel data end within fragment {len(found)}; copy or export it again"
            )
        found.append(Fragment(position, length, file.read(min(length, 16))))
        position += length
    if element.length is None and header[:4] != DELIMITER:
        raise SweepError(
            f"{name}: truncated, its pixel data have no end after {max(0, len(found) - 1)} fragments; "
            "copy or export the file again"
        )
    if len(found) < 2:
        raise no_pixels(name)
    file.seek(found[0].offset)
    table = file.read(found[0].length)
    offsets = list(struct.unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4]))
    fragments = [fragment for fragment in found[1:] if fragment.length]
    if not fragments:
        raise no_pixels(name)
    return offsets, fragments


def _damaged(name: str, found: Sequence[Fragment]) -> SweepError:
    if not found:
        return SweepError(
            f"{name}: its header is contradictory (a compressed transfer syntax, but pixels that are not in "
            "fragments); export it again"
        )
    return SweepError(
        f"{name}: its pixel data are damaged after fragment {len(found) - 1}; copy or export it again"
    )


def _by_offsets(offsets: Sequence[int], fragments: Sequence[Fragment]) -> list[Frame] | None:
    """Frames by a table of offsets from the first fragment's header; None when these are no fragments' places."""
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
    """Frames by where an image begins."""
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
    """Which fragments each frame is made of, and what was decided about it.

    Offset tables count when they fit fragments and the number of frames; else an image begins where its format's
    mark stands.

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
        notes.append(f"the {kind} offset table does not fit the frames and was not used")
    if written is not None and len(frames) != written:
        raise SweepError(
            f"{name}: holds {len(frames)} frames where its header announces {written} "
            f"({syntax_name(layout.syntax)}, {len(fragments)} fragments); export it again"
        )
    if written is None and len(frames) > 1:
        notes.append(COUNTED_NOTE.format(count=len(frames)))
    return frames, tuple(notes)


def frame_reader(path: Path, frames: Sequence[Frame]) -> Callable[[], Iterator[bytes]]:
    """What reads the bytes of each frame."""

    def read() -> Iterator[bytes]:
        with open(path, "rb") as file:
            for frame in frames:
                parts = []
                for fragment in frame:
                    file.seek(fragment.offset)
                    parts.append(file.read(fragment.length))
                yield b"".join(parts)

    return read
