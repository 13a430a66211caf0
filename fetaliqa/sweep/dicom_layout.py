"""Layout of DICOM pixel data: size, samples, bits and colour (PS3.3 section C.7.6.3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from fetaliqa.errors import SweepError

GREY = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
PARTIAL_LUMA = ("YBR_PARTIAL_422", "YBR_PARTIAL_420")  # luma from 16 to 235 of 255 (BT.601)
SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")  # two pixels share their chroma samples
LUMA_FIRST = ("YBR_FULL", "YBR_FULL_422", *PARTIAL_LUMA)  # the first sample is BT.601 luma (C.7.6.3.1.2)
RGB_LIKE = ("RGB", "YBR_ICT", "YBR_RCT")  # the latter two are decoded to RGB by JPEG 2000
READABLE = (*GREY, PALETTE, *RGB_LIKE, *LUMA_FIRST)
"""Photometric interpretations that can be read."""

ALLOCATED = (1, 8, 16, 32)
VIDEO_SYNTAXES = "1.2.840.10008.1.2.4.10"  # ...100 to ...108: MPEG-2, MPEG-4 and HEVC, with ".1" for fragmentable
NEWER_SYNTAXES = {  # unknown to pydicom 2
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.4.201": "High-Throughput JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.202": "High-Throughput JPEG 2000 RPCL Lossless",
    "1.2.840.10008.1.2.4.203": "High-Throughput JPEG 2000",
}
OVERLAY_BIT, OVERLAY_DATA = 0x0102, 0x3000  # elements of groups 6000 to 601E
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
JPEG = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (*range(50, 67), 70, 80, 81))  # and JPEG-LS
JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 92, 93))
SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


def syntax_name(syntax: UID) -> str:
    """Name of a transfer syntax; its UID when the name is unknown."""
    name = " ".join(NEWER_SYNTAXES.get(str(syntax), syntax.name).split())
    return f"private transfer syntax {name}" if syntax.is_private else name


def is_video(syntax: UID) -> bool:
    """Whether the pixel data of a transfer syntax are one video stream (PS3.5 sections 8.2.5 to 8.2.8)."""
    return str(syntax).startswith(VIDEO_SYNTAXES) and str(syntax)[len(VIDEO_SYNTAXES) :][:1].isdigit()


@dataclass(frozen=True)
class Layout:
    """Storage of the samples of one frame.

    Attributes:
        rows, columns: size of a frame.
        samples: values per pixel, 1 or 3.
        allocated: bits allocated per sample: 1, 8, 16, 32, or 64 for double floating point.
        stored: bits stored per sample.
        high_bit: position of the highest stored bit.
        signed: two's complement.
        floating: samples are IEEE 754 numbers.
        interpretation: photometric interpretation.
        subsampled: two neighbours share their chroma samples.
        by_plane: native samples are stored by colour plane.
        little_endian: byte order of native samples.
        words: whether native bytes are stored as 16-bit words (VR OW), so that big endian swaps neighbours.
        syntax: transfer syntax.
        overlay_bits: whether unused bits hold overlays (PS3.5 section 8.1.2, retired).
        notes: notes for the user on ambiguous headers.
    """

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    floating: bool
    interpretation: str
    subsampled: bool
    by_plane: bool
    little_endian: bool
    words: bool
    syntax: UID
    overlay_bits: bool = False
    notes: tuple[str, ...] = ()

    @property
    def compressed(self) -> bool:
        """Whether the frames are encoded in fragments."""
        return self.syntax not in NATIVE

    @property
    def native_bits(self) -> int:
        """Bits of one uncompressed frame."""
        per_pixel = 2 if self.subsampled else self.samples
        return self.rows * self.columns * per_pixel * self.allocated

    @property
    def extremes(self) -> tuple[int, int]:
        """Smallest and largest value of an integer sample."""
        if self.signed:
            return -(1 << (self.stored - 1)), (1 << (self.stored - 1)) - 1
        return 0, (1 << self.stored) - 1


def _number(dataset: Dataset, keyword: str, default: int | None = None) -> int | None:
    value = dataset.get(keyword)
    return default if value in (None, "") else int(value)


def _refuse_no_image(dataset: FileDataset, rows: int, columns: int, name: str) -> None:
    if str(dataset.get("SOPClassUID", "")) in SEGMENTATION:
        raise SweepError(f"{name}: is a DICOM segmentation, not an image; import it as a label of its image")
    if rows < 1 or columns < 1:
        raise SweepError(f"{name}: the DICOM file holds no image (size {rows} x {columns}); choose another file")


def _bits(dataset: FileDataset, name: str) -> tuple[int, int, int]:
    """(allocated, stored, high bit)."""
    allocated = _number(dataset, "BitsAllocated")
    if allocated is None:
        raise SweepError(f"{name}: its pixels cannot be decoded (Bits Allocated is missing); export it again")
    if allocated not in ALLOCATED:
        raise SweepError(
            f"{name}: {allocated} bits allocated per sample; {', '.join(map(str, ALLOCATED))} can be read"
        )
    stored = _number(dataset, "BitsStored", allocated)
    assert stored is not None
    high = _number(dataset, "HighBit", stored - 1)
    assert high is not None
    if not (1 <= stored <= allocated and stored - 1 <= high < allocated):
        raise SweepError(
            f"{name}: its header is contradictory ({allocated} bits allocated, {stored} stored, high bit {high}); "
            "export it again"
        )
    return allocated, stored, high


def read_layout(dataset: FileDataset, name: str, float_bits: int | None = None, words: bool = False) -> Layout:
    """Return the layout of a data set's pixels.

    Args:
        dataset: header of the file.
        name: the file, for messages.
        float_bits: 32 or 64 when its samples are floating-point numbers, else None.
        words: whether the pixel data element consists of 16-bit words.

    Raises:
        SweepError: when it holds no image, an unsupported one, or a contradictory header.
    """
    rows, columns = _number(dataset, "Rows", 0), _number(dataset, "Columns", 0)
    assert rows is not None
    assert columns is not None
    _refuse_no_image(dataset, rows, columns, name)
    interpretation = str(dataset.get("PhotometricInterpretation") or "").strip()
    if interpretation not in READABLE:
        raise SweepError(
            f"{name}: photometric interpretation {interpretation!r} cannot be read; "
            "export as MONOCHROME2, RGB, YBR_FULL, YBR_FULL_422 or PALETTE COLOR"
        )
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not isinstance(syntax, UID):
        raise SweepError(f"{name}: the encoding of its pixels is unknown (no transfer syntax); export it again")
    compressed = syntax not in NATIVE
    if compressed and str(syntax) not in (*JPEG, *JPEG_2000, RLELossless) and not is_video(syntax):
        raise SweepError(
            f"{name}: its pixels are encoded in {syntax_name(syntax)}, which cannot be read; "
            "export it uncompressed, or as JPEG, JPEG-LS, JPEG 2000 or RLE"
        )
    expected = 1 if interpretation in (*GREY, PALETTE) else 3
    samples = _number(dataset, "SamplesPerPixel", expected)
    if samples != expected:
        raise SweepError(
            f"{name}: its header is contradictory ({interpretation} with {samples} samples per pixel, "
            f"{expected} expected); export it again"
        )
    allocated, stored, high = _bits(dataset, name) if float_bits is None else (float_bits, float_bits, 0)
    if expected == 3 and allocated == 1:
        raise SweepError(f"{name}: colour ({interpretation}) of 1 bit cannot be read; export it with 8 bits")
    signed = _number(dataset, "PixelRepresentation", 0)
    if signed not in (0, 1):
        raise SweepError(f"{name}: pixel representation {signed}; 0 (unsigned) or 1 (signed) expected")
    notes = []
    planar = _number(dataset, "PlanarConfiguration")
    if expected == 3 and planar not in (0, 1) and not compressed:
        notes.append("planar configuration missing: samples read as stored pixel by pixel")
    overlays = any(
        (group, OVERLAY_BIT) in dataset
        and dataset[group, OVERLAY_BIT].value
        and (group, OVERLAY_DATA) not in dataset
        for group in range(0x6000, 0x6020, 2)
    )
    if overlays and stored < allocated:
        notes.append("overlays in unused bits of the pixels ignored")
    return Layout(
        rows,
        columns,
        expected,
        allocated,
        stored,
        high,
        bool(signed) and float_bits is None,
        float_bits is not None,
        interpretation,
        interpretation in SUBSAMPLED and not compressed,
        planar == 1,
        bool(dataset.is_little_endian),
        words,
        syntax,
        overlays,
        tuple(notes),
    )
