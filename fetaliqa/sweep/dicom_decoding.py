"""One frame's bytes as its samples.

Native pixels are read here, compressed ones by pylibjpeg's decoders, Pillow and pydicom.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import libjpeg
import numpy as np
import openjpeg
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from fetaliqa.errors import SweepError
from fetaliqa.sweep.dicom_layout import JPEG_2000, LUMA_FIRST, Layout, syntax_name
from fetaliqa.sweep.jpeg_headers import Codestream, holds_several, read_codestream

Note = Callable[[str], None]
UNUSED_BITS_NOTE = "bits beyond those stored are set and were left out"


def decode(data: bytes, layout: Layout, name: str, note: Note) -> np.ndarray:
    """Decode one frame.

    Args:
        data: its bytes.
        layout: how it is stored.
        name: the file, for messages.
        note: called with what was decided.

    Returns:
        Samples [H, W]: grey values, palette entries or luma; or [H, W, 3] for RGB. Integer or floating point.

    Raises:
        SweepError: when the frame contradicts the header.
        One of ``DAMAGE_ERRORS``: when a decoder refuses it.
    """
    if not layout.compressed:
        return _first_if_luma(_significant(_native(data, layout), layout, note), layout)
    if layout.syntax == RLELossless:
        return _first_if_luma(_significant(_run_length(data, layout), layout, note), layout)
    return _image(data, layout, name, note)


def _first_if_luma(samples: np.ndarray, layout: Layout) -> np.ndarray:
    return samples[..., 0] if samples.ndim == 3 and layout.interpretation in LUMA_FIRST else samples


def _native(data: bytes, layout: Layout) -> np.ndarray:
    size = layout.rows, layout.columns
    if layout.allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[: layout.rows * layout.columns].reshape(size)
    kind = "f" if layout.floating else "u"
    order = "<" if layout.little_endian else ">"
    values = np.frombuffer(data, np.dtype(f"{order}{kind}{layout.allocated // 8}"))
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if layout.subsampled:  # luma, luma, and the chroma of both
        return values.reshape(layout.rows, layout.columns // 2, 4)[..., :2].reshape(size)
    if layout.samples == 1:
        return values.reshape(size)
    if layout.by_plane:
        return values.reshape(layout.samples, *size).transpose(1, 2, 0)
    return values.reshape(*size, layout.samples)


def _run_length(data: bytes, layout: Layout) -> np.ndarray:
    """RLE (PS3.5 annex G), by pydicom."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = RLELossless
    frame = FileDataset("", {}, file_meta=meta, is_implicit_VR=False, is_little_endian=True)
    frame.Rows, frame.Columns, frame.SamplesPerPixel = layout.rows, layout.columns, layout.samples
    frame.BitsAllocated = frame.BitsStored = layout.allocated
    frame.HighBit, frame.PixelRepresentation = layout.allocated - 1, 0
    frame.PhotometricInterpretation, frame.PlanarConfiguration = "RGB" if layout.samples == 3 else "MONOCHROME2", 0
    frame.PixelData = encapsulate([data], has_bot=False)
    frame["PixelData"].is_undefined_length = True
    return frame.pixel_array


def _significant(values: np.ndarray, layout: Layout, note: Note) -> np.ndarray:
    """The bits that hold the sample, as a number (PS3.5 section 8.1.1)."""
    if layout.floating or layout.allocated == 1 or (layout.stored == layout.allocated and not layout.signed):
        return values
    mask, shift = (1 << layout.stored) - 1, layout.high_bit + 1 - layout.stored
    samples = (values >> values.dtype.type(shift)) & values.dtype.type(mask)
    if not layout.overlay_bits and layout.stored < layout.allocated:
        rest = values ^ (samples << values.dtype.type(shift))
        if layout.signed and rest.any():
            sign = ((1 << layout.allocated) - 1) ^ ((1 << (layout.high_bit + 1)) - 1)  # bits that repeat it
            negative = (samples >> values.dtype.type(layout.stored - 1)) != 0
            rest[negative & (rest == sign)] = 0
        if rest.any():
            note(UNUSED_BITS_NOTE)
    return with_sign(samples, layout.stored) if layout.signed else samples


def with_sign(samples: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement of so many bits, as signed numbers of the same width."""
    size = samples.dtype.itemsize * 8
    signed = samples.view(np.dtype(f"i{samples.dtype.itemsize}"))
    return (signed << (size - bits)) >> (size - bits)


def _image(data: bytes, layout: Layout, name: str, note: Note) -> np.ndarray:
    """A JPEG, JPEG-LS or JPEG 2000 image."""
    found = read_codestream(data)
    if found is None:
        raise SweepError(
            f"{name}: its pixels are not {syntax_name(layout.syntax)}, as its header says; export it uncompressed"
        )
    _check(found, data, layout, name)
    samples = _decoded(data, found, layout)
    if samples.shape[:2] != (layout.rows, layout.columns):
        raise SweepError(f"{name}: a frame is decoded to {samples.shape[:2]}; copy or export it again")
    if samples.ndim == 3 and (found.colour or _said(layout)) == "YBR":
        samples = samples[..., 0]
    if found.samples == 3 and found.colour not in (None, _said(layout)):
        note(f"the header says {layout.interpretation}, the compressed frames are {found.colour} and were read so")
    if layout.signed and samples.dtype.kind == "u":
        samples = with_sign(samples, found.precision)
    low, high = layout.extremes
    if found.precision > layout.stored and not low <= int(samples.min()) <= int(samples.max()) <= high:
        raise SweepError(
            f"{name}: its header is contradictory ({layout.stored} bits stored, frames with values up to "
            f"{int(samples.max())}); export it again"
        )
    return samples


def _said(layout: Layout) -> str:
    return "YBR" if layout.interpretation in LUMA_FIRST else "RGB"


def _check(found: Codestream, data: bytes, layout: Layout, name: str) -> None:
    if holds_several(data):
        raise SweepError(f"{name}: holds several images where one frame is announced; export it again")
    size = found.rows or layout.rows, found.columns
    if size != (layout.rows, layout.columns) or found.samples != layout.samples:
        raise SweepError(
            f"{name}: its header is contradictory ({layout.rows} x {layout.columns}, {layout.samples} samples per "
            f"pixel; the compressed frames are {size[0]} x {size[1]}, {found.samples}); export it again"
        )
    if found.precision > layout.allocated:
        raise SweepError(
            f"{name}: its header is contradictory ({layout.allocated} bits allocated, frames of {found.precision} "
            "bits); export it again"
        )


def _decoded(data: bytes, found: Codestream, layout: Layout) -> np.ndarray:
    """Samples as stored in the image: no colour transform but that of JPEG 2000."""
    if str(layout.syntax) in JPEG_2000:
        return openjpeg.decode(data)
    if found.baseline and (
        found.samples == 1 or found.colour == "YBR" or (not found.colour and _said(layout) == "YBR")
    ):
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:  # faster than libjpeg
            image.draft("L", image.size)  # luma as it is
            if image.mode == "L":
                return np.asarray(image)
    return libjpeg.decode(data, 0)
