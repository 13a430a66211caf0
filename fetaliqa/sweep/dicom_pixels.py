"""Decodes the frames of DICOM files one at a time, through pydicom's handlers (RLE, JPEG, JPEG 2000)."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_pixel_data_frame
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixel_data_handlers.util import apply_color_lut, get_expected_length
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from fetaliqa.errors import SweepError
from fetaliqa.sweep.pixels import luma

GREY = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
LUMA_FIRST = ("YBR_FULL", "YBR_FULL_422")  # full range: the first component is BT.601 luma (PS3.3 C.7.6.3.1.2)
READABLE = (*GREY, PALETTE, "RGB", "YBR_ICT", "YBR_RCT", *LUMA_FIRST)
"""Photometric interpretations that can be read (those of JPEG 2000 are decoded to RGB)."""

PIXEL_DATA = (0x7FE0, 0x0010)  # tag of the element that holds the pixels

# pydicom leaves truncated pixel data out, which is reported below, and warns on stderr with the full path
warnings.filterwarnings("ignore", message="End of file reached before delimiter", category=UserWarning)

# What pydicom and its decoders raise on files that break the standard
DAMAGE_ERRORS = (
    RuntimeError,  # includes NotImplementedError: a transfer syntax without handler
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    EOFError,
    OSError,
    struct.error,
    zlib.error,
    BytesLengthException,
)


def reason_of(error: Exception) -> str:
    """What a decoder says, first line; the mere kind of error where pydicom quotes the file.

    A misread header can put any bytes into such a quotation, a patient's name included.
    """
    lines = str(error).strip().splitlines() if isinstance(error, (RuntimeError, OSError, EOFError)) else []
    return lines[0][:160] if lines else type(error).__name__


def read_dataset(path: Path, with_pixels: bool = True) -> FileDataset:
    """Read a DICOM file, with or without its pixel data.

    Raises:
        SweepError: when it is not DICOM, damaged, or may not be read.
    """
    try:
        return pydicom.dcmread(path, stop_before_pixels=not with_pixels)
    except InvalidDicomError:
        raise SweepError(f"{path.name}: is not a DICOM file; export the sweep as DICOM or .mha") from None
    except PermissionError:
        raise SweepError(f"{path.name}: may not be read; change the file's permissions") from None
    except DAMAGE_ERRORS as error:
        raise SweepError(
            f"{path.name}: the DICOM file is damaged ({reason_of(error)}); copy or export it again"
        ) from None


def frame_count(dataset: FileDataset, name: str) -> int:
    """Return the number of frames, 1 when the file does not say.

    Raises:
        SweepError: when it is not a positive number.
    """
    written = dataset.get("NumberOfFrames")
    count = 1 if written in (None, "") else int(written)
    if count < 1:
        raise SweepError(f"{name}: number of frames {count}; at least 1 expected")
    return count


def _single_frame(dataset: FileDataset, pixel_data: bytes, encapsulated: bool) -> FileDataset:
    """A data set of one frame for pydicom to decode, with only what decoding needs: pixel and palette fields."""
    frame = FileDataset("", {}, file_meta=dataset.file_meta)
    frame.is_little_endian, frame.is_implicit_VR = dataset.is_little_endian, dataset.is_implicit_VR
    for element in dataset.group_dataset(0x0028):
        if element.keyword != "NumberOfFrames":
            frame.add(element)
    frame.PixelData = pixel_data
    frame["PixelData"].is_undefined_length = encapsulated
    return frame


def _encapsulated_frames(dataset: FileDataset, count: int, name: str) -> Iterator[FileDataset]:
    found = 0
    for encoded in generate_pixel_data_frame(dataset.PixelData, count):
        found += 1
        if found <= count:
            yield _single_frame(dataset, encapsulate([encoded], has_bot=False), encapsulated=True)
    if found != count:
        raise SweepError(f"{name}: holds {found} frames where its header announces {count}; export it again")


def _no_pixels(name: str) -> SweepError:
    return SweepError(f"{name}: the DICOM file holds no complete pixel data; copy it again, or export images")


def _check_length(found: int, needed: int, count: int, name: str) -> None:
    if found < needed:
        raise SweepError(
            f"{name}: truncated, {max(0, found):,} of {needed:,} bytes of pixels are there ({count} frames); "
            "copy or export the file again"
        )


def _native_frame_bytes(dataset: FileDataset) -> int:
    """Bytes of one uncompressed frame."""
    return int(get_expected_length(_single_frame(dataset, b"", encapsulated=False)))


def _native_frame(dataset: FileDataset, data: bytes) -> FileDataset:
    return _single_frame(
        dataset, data + b"\0" * (len(data) % 2), encapsulated=False
    )  # elements have an even length


def _find_pixels(file: BinaryIO, dataset: FileDataset) -> int | None:
    """Length of the pixel data element that ``file`` stands before; moves to its first byte. PS3.5 section 7.1.

    None when another element, or none, comes there.
    """
    order = "<" if dataset.is_little_endian else ">"
    header = file.read(8)
    if len(header) < 8 or struct.unpack(order + "HH", header[:4]) != PIXEL_DATA:
        return None
    if dataset.is_implicit_VR:
        return struct.unpack(order + "L", header[4:])[0]
    return struct.unpack(order + "L", file.read(4))[0]  # after VR (OB or OW) and two reserved bytes


def _streamed_frames(path: Path, count: int) -> Iterator[FileDataset]:
    """Frames of uncompressed pixel data, read from the file one by one."""
    with open(path, "rb") as file:
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        element_length = _find_pixels(file, dataset)
        if element_length is None:
            raise _no_pixels(path.name)
        length = _native_frame_bytes(dataset)
        _check_length(min(element_length, path.stat().st_size - file.tell()), length * count, count, path.name)
        for _ in range(count):
            yield _native_frame(dataset, file.read(length))


def _inflated_frames(dataset: FileDataset, count: int, name: str) -> Iterator[FileDataset]:
    """Frames of a data set that was deflated as a whole, and so had to be read as a whole."""
    length = _native_frame_bytes(dataset)
    data = memoryview(dataset.PixelData)
    _check_length(len(data), length * count, count, name)
    for start in range(0, length * count, length):
        yield _native_frame(dataset, bytes(data[start : start + length]))


def _frames(path: Path, syntax: UID, count: int) -> Iterator[FileDataset]:
    """The frames of a file, each as a data set of its own."""
    if not syntax.is_compressed and syntax != DeflatedExplicitVRLittleEndian:
        yield from _streamed_frames(path, count)
        return
    dataset = read_dataset(path)
    if "PixelData" not in dataset:
        raise _no_pixels(path.name)
    if syntax.is_compressed:
        yield from _encapsulated_frames(dataset, count, path.name)
    else:
        yield from _inflated_frames(dataset, count, path.name)


def _inverted(pixels: np.ndarray, frame: FileDataset) -> np.ndarray:
    """MONOCHROME1, where the largest value the bits can hold is black, as MONOCHROME2."""
    bits, signed = int(frame.BitsStored), int(frame.PixelRepresentation)
    largest = (1 << (bits - signed)) - 1
    smallest = -(1 << (bits - 1)) if signed else 0
    return (largest + smallest - pixels.astype(np.int64)).astype(pixels.dtype)


def _grey(frame: FileDataset) -> np.ndarray:
    """Decode one frame to grey values [H, W], 0 black."""
    pixels = frame.pixel_array
    interpretation = frame.PhotometricInterpretation
    if interpretation == PALETTE:
        colours = apply_color_lut(pixels, frame)  # tables of 16 bits use their full range
        return luma(colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8))
    if interpretation in LUMA_FIRST:
        return pixels[..., 0]
    if pixels.ndim == 3:
        return luma(pixels)
    return _inverted(pixels, frame) if interpretation == "MONOCHROME1" else pixels


def grey_frames(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Yield all frames of the files, in order, as grey slabs [1, H, W].

    Raises:
        SweepError: when pixels are missing, truncated, damaged or encoded in an unknown way.
    """
    for path in paths:
        dataset = read_dataset(path, with_pixels=False)
        syntax = dataset.file_meta.TransferSyntaxUID
        try:
            for frame in _frames(path, syntax, frame_count(dataset, path.name)):
                yield _grey(frame)[None]
        except DAMAGE_ERRORS as error:
            encoding = " ".join(syntax.name.split())
            raise SweepError(
                f"{path.name}: its pixels ({encoding}) cannot be decoded ({reason_of(error)}); "
                "export it uncompressed or copy it again"
            ) from None
