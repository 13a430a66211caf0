"""Lookup tables of DICOM files: palettes, modality and VOI tables.

pydicom's ``apply_color_lut`` and ``apply_modality_lut`` rely on the declared width, which is wrong in some files
(PS3.3 section C.7.6.3.1.5, note: 8-bit entries in 16 bits).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from fetaliqa.errors import SweepError

try:  # apply_color_lut relies on the declared width
    from pydicom.pixels.processing import _expand_segmented_lut
except ImportError:  # pydicom 2
    from pydicom.pixel_data_handlers.util import _expand_segmented_lut

MAX_ENTRIES = 1 << 16


@dataclass(frozen=True)
class Table:
    """A lookup table.

    Attributes:
        first: input value of the first entry; smaller inputs take the first, larger than the last take the last.
        entries: output values.
        largest: output value of full brightness.
    """

    first: int
    entries: np.ndarray
    largest: int

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """The entries of ``values``."""
        places = np.clip(np.rint(values).astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[places]


def _descriptor(dataset: Dataset, keyword: str, signed: bool, name: str) -> tuple[int, int, int]:
    """(number of entries, first input value, bits of an entry)."""
    value = dataset.get(keyword)
    if isinstance(value, bytes):
        value = list(struct.unpack(f"<{len(value) // 2}H", value))
    if value is None or len(value) != 3:
        raise SweepError(
            f"{name}: {keyword} is missing or damaged; its grey values cannot be known, export it again"
        )
    count, first, bits = (int(number) for number in value)
    first &= 0xFFFF
    if signed and first >= 1 << 15:
        first -= 1 << 16
    if not 1 <= bits <= 16:
        raise SweepError(f"{name}: {keyword} says {bits} bits per entry; 8 to 16 expected, export it again")
    return (count & 0xFFFF) or MAX_ENTRIES, first, bits


def _words(data: object, count: int, little_endian: bool) -> tuple[np.ndarray, bool]:
    """Numbers of a table's data, and whether they were stored as bytes."""
    if not isinstance(data, bytes):
        return np.atleast_1d(np.asarray(data)).astype(np.int64) & 0xFFFF, False
    if len(data) < 2 * count:
        return np.frombuffer(data, np.uint8).astype(np.int64), True
    return np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little_endian else ">u2").astype(np.int64), False


def _finished(first: int, count: int, bits: int, words: np.ndarray, what: str, name: str) -> Table:
    """A table from its numbers, with up to one number of padding to an even length."""
    if not count <= len(words) <= count + 1:
        raise SweepError(
            f"{name}: {what} is contradictory ({count} entries declared, {len(words)} present); export it again"
        )
    return Table(first, words[:count], (1 << bits) - 1)


def read_table(dataset: Dataset, prefix: str, signed: bool, little_endian: bool, name: str) -> Table:
    """Read a table.

    Args:
        dataset: data set with ``{prefix}Descriptor`` and ``{prefix}Data``, or ``Segmented{prefix}Data``.
        prefix: as in ``RedPaletteColorLookupTable`` or ``LUT``.
        signed: whether its input values are signed.
        little_endian: byte order of its data.
        name: the file, for messages.

    Raises:
        SweepError: when it is missing, or its length differs from the declared one.
    """
    count, first, bits = _descriptor(dataset, f"{prefix}Descriptor", signed, name)
    data, segmented = dataset.get(f"{prefix}Data"), dataset.get(f"Segmented{prefix}Data")
    if data is None and segmented is None:
        raise SweepError(f"{name}: {prefix}Data is missing; its grey values cannot be known, export it again")
    if data is None:
        return _finished(
            first, count, bits, _expanded(segmented, count, bits, little_endian, prefix, name), prefix, name
        )
    words, by_bytes = _words(data, count, little_endian)
    return _finished(first, count, 8 if by_bytes and bits > 8 else bits, words, prefix, name)


def with_fitting_depth(tables: Sequence[Table]) -> tuple[list[Table], str | None]:
    """Correct the depth of related tables to that of their entries, if the declared one is wrong.

    Returns:
        The tables, and a note if the depth was corrected.
    """
    written = max(table.largest for table in tables)
    brightest = max(int(table.entries.max()) for table in tables)
    if brightest > written:  # 8 bits written, 16 used
        largest = (1 << 16) - 1
    elif written > 255 and brightest <= 255:  # 8-bit entries padded to 16 bits
        largest = 255
    elif written == (1 << 16) - 1 and not any((table.entries & 0xFF).any() for table in tables):
        return [Table(table.first, table.entries >> 8, 255) for table in tables], None  # 8 bits in the upper byte
    else:
        return list(tables), None
    bits = f"lookup table entries are of {largest.bit_length()} bits, not of {written.bit_length()} as written"
    return [Table(table.first, table.entries, largest) for table in tables], bits


def _expanded(data: object, count: int, bits: int, little_endian: bool, what: str, name: str) -> np.ndarray:
    """Entries of a segmented table (PS3.3 section C.7.9.2), which stores numbers of 8 or 16 bits."""
    assert isinstance(data, bytes)
    order = "<" if little_endian else ">"
    for letter, width in (("B", 1), ("H", 2)) if bits == 8 else (("H", 2), ("B", 1)):
        number = len(data) // width
        try:
            entries = _expand_segmented_lut(
                struct.unpack(f"{order}{number}{letter}", data[: number * width]), f"{order}{letter}"
            )
        except (ValueError, LookupError, RecursionError):
            continue
        if len(entries) == count:
            return np.asarray(entries, np.int64)
    raise SweepError(f"{name}: {what} is contradictory (its segments are not {count} entries); export it again")
