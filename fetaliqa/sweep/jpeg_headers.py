"""Headers of JPEG, JPEG-LS and JPEG 2000 images: size, samples, precision, colour."""

from __future__ import annotations

import struct
from dataclasses import dataclass

LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF, 0xF7)  # start of frame of JPEG Lossless (ITU-T T.81), JPEG-LS (T.87)
NO_FRAME = (0xC4, 0xC8, 0xCC)  # tables and extensions, with markers in the range of frame markers
STANDALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
APP0, APP14, START_OF_SCAN = 0xE0, 0xEE, 0xDA
J2K_START, J2K_CODING, J2K_TILE = b"\xff\x4f\xff\x51", 0x52, 0x90
JOINED = (
    b"\xff\xd9\xff\xd8\xff",
    b"\xff\xd9\x00\xff\xd8\xff",
    b"\xff\xd9\xff\x4f\xff\x51",
    b"\xff\xd9\x00\xff\x4f\xff\x51",
)


@dataclass(frozen=True)
class Codestream:
    """Header of an encoded image.

    Attributes:
        rows, columns: size.
        samples: values per pixel.
        precision: bits of a sample.
        colour: ``RGB`` or ``YBR``, colour space of samples decoded without a transform; None if unspecified.
        baseline: whether it is DCT-based JPEG with 8 bits.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    colour: str | None
    baseline: bool


def holds_several(data: bytes) -> bool:
    """Whether one image ends and another begins in ``data``."""
    return any(mark in data for mark in JOINED)


def read_codestream(data: bytes) -> Codestream | None:
    """Header of an image; None for other formats."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        start = data.find(J2K_START, 0, 4096)
        return _jpeg_2000(data, start) if start >= 0 else None
    except (struct.error, IndexError):
        return None


def _jpeg(data: bytes) -> Codestream | None:
    position, colour, frame = 2, None, None
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF or marker in STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack(">H", data[position + 2 : position + 4])
        body = data[position + 4 : position + 2 + length]
        if marker == APP0 and body[:4] == b"JFIF":
            colour = colour or "YBR"
        elif marker == APP14 and body[:5] == b"Adobe":
            colour = ("YBR" if body[11] else "RGB") if len(body) > 11 else colour
        elif (0xC0 <= marker <= 0xCF and marker not in NO_FRAME) or marker == 0xF7:
            precision, rows, columns, samples = struct.unpack(">BHHB", body[:6])
            if bytes(body[6 : 6 + 3 * samples : 3]) == b"RGB":
                colour = "RGB"
            frame = marker, precision, rows, columns, samples
        elif marker == START_OF_SCAN:
            break
        position += 2 + length
    if frame is None:
        return None
    marker, precision, rows, columns, samples = frame
    lossless = marker in LOSSLESS  # has no colour transform, whatever a JFIF marker implies
    return Codestream(
        rows, columns, samples, precision, None if lossless else colour, not lossless and precision == 8
    )


def _jpeg_2000(data: bytes, start: int) -> Codestream:
    right, bottom, left, top = struct.unpack(">4L", data[start + 8 : start + 24])
    (samples,) = struct.unpack(">H", data[start + 40 : start + 42])
    precision = (data[start + 42] & 0x7F) + 1
    (length,) = struct.unpack(">H", data[start + 4 : start + 6])
    position, colour = start + 4 + length, None
    while data[position] == 0xFF and data[position + 1] != J2K_TILE:
        if data[position + 1] == J2K_CODING:
            colour = "RGB" if data[position + 8] else None  # with its component transform, decoding gives RGB
            break
        (length,) = struct.unpack(">H", data[position + 2 : position + 4])
        position += 2 + length
    return Codestream(bottom - top, right - left, samples, precision, colour, False)
