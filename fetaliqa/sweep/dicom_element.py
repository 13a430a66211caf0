"""DICOM headers, and the location of the pixel data element."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset as read_elements
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from fetaliqa.errors import SweepError
from fetaliqa.size_limits import UnpackedTooLarge

# Pixel data elements (PS3.6), with the bits of floating-point numbers
PIXEL_TAGS = {(0x7FE0, 0x0010): None, (0x7FE0, 0x0008): 32, (0x7FE0, 0x0009): 64}
LONG_LENGTHS = (b"OB", b"OW", b"OF", b"OD", b"UN", b"OL")  # VRs with 32-bit lengths, PS3.5 section 7.1.2
UNDEFINED = 0xFFFFFFFF
MAX_INFLATED_HEADER = 4 << 20  # bytes; headers of cine loops take some 10 KB
META_START = 132 + 12  # preamble, prefix, and the element with the length of the file meta information (PS3.10)
CHUNK_BYTES = 1 << 16

# pydicom omits truncated pixel data, which is reported below; its warning on stderr shows the full path
warnings.filterwarnings("ignore", message="End of file reached before delimiter", category=UserWarning)

# Exceptions of pydicom and its decoders on files that violate the standard
DAMAGE_ERRORS = (
    RuntimeError,  # includes NotImplementedError: a transfer syntax without handler
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    EOFError,
    OSError,
    OverflowError,
    struct.error,
    zlib.error,
    BytesLengthException,
)


@dataclass(frozen=True)
class PixelElement:
    """The pixel data element of a file.

    Attributes:
        offset: offset of its value in the file; for a deflated file, in the inflated data.
        length: bytes of the value in the element's header; None when undefined (encapsulated).
        available: bytes from ``offset`` to the end of the file; None when unknown before reading.
        words: whether the value consists of 16-bit words (VR OW).
        float_bits: 32 or 64 for floating-point pixels.
    """

    offset: int
    length: int | None
    available: int | None
    words: bool
    float_bits: int | None


@dataclass(frozen=True)
class Header:
    """Header of a DICOM file.

    Attributes:
        dataset: the elements before the pixels.
        element: the pixel data element; None without pixels.
        inflated_from: offset of the deflated part of the file; None when it is not deflated.
    """

    dataset: FileDataset
    element: PixelElement | None
    inflated_from: int | None = None


def reason_of(error: Exception) -> str:
    """The first line of a decoder's message, or the type of error if pydicom's message may quote the file.

    A misread header can put any bytes into such a quotation, including a patient's name.
    """
    lines = str(error).strip().splitlines() if isinstance(error, (RuntimeError, OSError, EOFError)) else []
    return lines[0][:160] if lines else type(error).__name__


def no_pixels(name: str) -> SweepError:
    """The error for a file that ends before its pixels, or has none."""
    return SweepError(f"{name}: the DICOM file holds no complete pixel data; copy it again, or export images")


def read_header(path: Path) -> Header:
    """Read the header of a DICOM file.

    Raises:
        SweepError: when it is not DICOM, damaged, or not readable.
    """
    try:
        meta = read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            return _deflated_header(path, META_START + int(meta.FileMetaInformationGroupLength))
        with open(path, "rb") as file:
            dataset = pydicom.dcmread(file, stop_before_pixels=True)
            return Header(dataset, _pixel_element(file, dataset, path.stat().st_size))
    except InvalidDicomError:
        raise SweepError(f"{path.name}: is not a DICOM file; export the sweep as DICOM or .mha") from None
    except PermissionError:
        raise SweepError(f"{path.name}: not readable; change the file's permissions") from None
    except DAMAGE_ERRORS as error:
        raise SweepError(
            f"{path.name}: the DICOM file is damaged ({reason_of(error)}); copy or export it again"
        ) from None


def _deflated_header(path: Path, start: int) -> Header:
    """Header of a deflated data set (PS3.5 section A.5); only its beginning is inflated."""
    meta = read_file_meta_info(path)
    with inflated(path, start) as read:
        file = io.BytesIO(read(MAX_INFLATED_HEADER))
    elements = read_elements(
        file, False, True, stop_when=lambda tag, vr, length: tag.group >= 0x7FE0 and tag.element >= 8
    )
    dataset = FileDataset("", elements, file_meta=meta, is_implicit_VR=False, is_little_endian=True)
    element = _pixel_element(file, dataset, None)
    if element is None and len(file.getbuffer()) == MAX_INFLATED_HEADER:
        raise UnpackedTooLarge(
            f"{path.name}: its header, deflated, takes more than {MAX_INFLATED_HEADER >> 20} MiB; export it again"
        )
    return Header(dataset, element, start)


@contextmanager
def inflated(path: Path, start: int) -> Iterator:
    """Context with a function that returns the next inflated bytes of a file, fewer at its end.

    Args:
        path: the file.
        start: offset of its deflated part.
    """
    with open(path, "rb") as file:
        file.seek(start)
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)

        def read(count: int) -> bytes:
            parts, missing = [], count
            while missing > 0 and not inflater.eof:
                data = inflater.unconsumed_tail or file.read(CHUNK_BYTES)
                part = inflater.decompress(data, missing)
                if not data and not part:
                    break
                parts.append(part)
                missing -= len(part)
            return b"".join(parts)

        yield read


def _pixel_element(file: BinaryIO, dataset: FileDataset, size: int | None) -> PixelElement | None:
    """The pixel data element at the position of ``file``; None when there is another element, or none."""
    order = "<" if dataset.is_little_endian else ">"
    header = file.read(8)
    if len(header) < 8:
        return None
    tag = struct.unpack(order + "HH", header[:4])
    if tag not in PIXEL_TAGS:
        return None
    words = True
    if dataset.is_implicit_VR:
        length = struct.unpack(order + "L", header[4:])[0]
    elif header[4:6] in LONG_LENGTHS:
        length = struct.unpack(order + "L", file.read(4))[0]
        words = header[4:6] == b"OW"
    else:
        length = struct.unpack(order + "H", header[6:])[0]
    offset = file.tell()
    available = None if size is None else max(0, size - offset)
    return PixelElement(offset, None if length == UNDEFINED else length, available, words, PIXEL_TAGS[tag])


def header_count(dataset: FileDataset, name: str) -> int | None:
    """Number of frames in the header; None when it is missing.

    Raises:
        SweepError: when it is not a positive number.
    """
    written = dataset.get("NumberOfFrames")
    if written in (None, ""):
        return None
    count = int(written)
    if count < 1:
        raise SweepError(f"{name}: number of frames {count}; at least 1 expected")
    return count
