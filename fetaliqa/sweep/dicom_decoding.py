"""Decoding of a DICOM frame: native pixels here, compressed ones with pylibjpeg, Pillow and pydicom."""

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
UNUSED_BITS_NOTE = "bits beyond those stored are set and were ignored"


def decode(data: bytes, layout: Layout, name: str, note: Note) -> np.ndarray:
    """Decode one frame.

    Args:
        data: its bytes.
        layout: how it is stored.
        name: the file, for messages.
        note: called with notes for the user.

    Returns:
        Samples [H, W]: grey values, palette entries or luma; or [H, W, 3] for RGB. Integer or floating point.

    Raises:
        SweepError: when the frame contradicts the header.
        One of ``DAMAGE_ERRORS``: when a decoder fails.
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
    """Extract the bits of the sample (PS3.5 section 8.1.1)."""
    if layout.floating or layout.allocated == 1 or (layout.stored == layout.allocated and not layout.signed):
        return values
    mask, shift = (1 << layout.stored) - 1, layout.high_bit + 1 - layout.stored
    samples = (values >> values.dtype.type(shift)) & values.dtype.type(mask)
    if not layout.overlay_bits and layout.stored < layout.allocated:
        unused = values ^ (samples << values.dtype.type(shift))
        if layout.signed and unused.any():
            sign = ((1 << layout.allocated) - 1) ^ ((1 << (layout.high_bit + 1)) - 1)  # sign-extension bits
            negative = (samples >> values.dtype.type(layout.stored - 1)) != 0
            unused[negative & (unused == sign)] = 0
        if unused.any():
            note(UNUSED_BITS_NOTE)
    return with_sign(samples, layout.stored) if layout.signed else samples


def with_sign(samples: np.ndarray, bits: int) -> np.ndarray:
    """Sign-extend two's complement samples of ``bits`` bits to signed numbers of the same width."""
    size = samples.dtype.itemsize * 8
    signed = samples.view(np.dtype(f"i{samples.dtype.itemsize}"))
    return (signed << (size - bits)) >> (size - bits)


def _image(data: bytes, layout: Layout, name: str, note: Note) -> np.ndarray:
    """A JPEG, JPEG-LS or JPEG 2000 image."""
    codestream = read_codestream(data)
    if codestream is None:
        raise SweepError(
            f"{name}: its pixels are not {syntax_name(layout.syntax)}, as its header says; export it uncompressed"
        )
    _check(codestream, data, layout, name)
    samples = _decoded(data, codestream, layout)
    if samples.shape[:2] != (layout.rows, layout.columns):
        raise SweepError(f"{name}: a decoded frame has size {samples.shape[:2]}; copy or export it again")
    if samples.ndim == 3 and (codestream.colour or _declared_colour(layout)) == "YBR":
        samples = samples[..., 0]
    if codestream.samples == 3 and codestream.colour not in (None, _declared_colour(layout)):
        note(f"the header says {layout.interpretation}, but the compressed frames are {codestream.colour}")
    if layout.signed and samples.dtype.kind == "u":
        samples = with_sign(samples, codestream.precision)
    low, high = layout.extremes
    if codestream.precision > layout.stored and not low <= int(samples.min()) <= int(samples.max()) <= high:
        raise SweepError(
            f"{name}: its header is contradictory ({layout.stored} bits stored, frames with values up to "
            f"{int(samples.max())}); export it again"
        )
    return samples


def _declared_colour(layout: Layout) -> str:
    return "YBR" if layout.interpretation in LUMA_FIRST else "RGB"


def _check(codestream: Codestream, data: bytes, layout: Layout, name: str) -> None:
    if holds_several(data):
        raise SweepError(f"{name}: holds several images where its header declares one frame; export it again")
    size = codestream.rows or layout.rows, codestream.columns
    if size != (layout.rows, layout.columns) or codestream.samples != layout.samples:
        raise SweepError(
            f"{name}: its header is contradictory ({layout.rows} x {layout.columns}, {layout.samples} samples per "
            f"pixel; the compressed frames are {size[0]} x {size[1]}, {codestream.samples}); export it again"
        )
    if codestream.precision > layout.allocated:
        raise SweepError(
            f"{name}: its header is contradictory ({layout.allocated} bits allocated, frames of "
            f"{codestream.precision} bits); export it again"
        )


def _decoded(data: bytes, codestream: Codestream, layout: Layout) -> np.ndarray:
    """Samples as stored in the image, without a colour transform except that of JPEG 2000."""
    if str(layout.syntax) in JPEG_2000:
        return openjpeg.decode(data)
    colour = codestream.colour or _declared_colour(layout)
    if codestream.baseline and (codestream.samples == 1 or colour == "YBR"):
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:  # faster than libjpeg
            image.draft("L", image.size)  # the stored luma
            if image.mode == "L":
                return np.asarray(image)
    return libjpeg.decode(data, 0)
