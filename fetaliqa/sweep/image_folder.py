"""PNG and JPEG images: a single image as a sweep of one frame, or a folder of frames as a sweep."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageMode, UnidentifiedImageError

from fetaliqa.errors import SweepError
from fetaliqa.size_limits import check_unpacked_size
from fetaliqa.sweep.image_orientation import UPRIGHT, stored_shape, upright
from fetaliqa.sweep.pixel_conversion import ALPHA_NOTE, LUMA_NOTE, Pixels, luma
from fetaliqa.sweep.sweep_types import Grid
from fetaliqa.sweep.volume_file import OpenImage

MAX_FRAME_PIXELS = 64_000_000  # 8000 x 8000; scanners export about 1 million
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_ORIENTATION = 0x0112  # EXIF tag
_DEEP_COLOUR = (2, 4, 6)  # PNG colour types RGB, grey with alpha, RGBA, of which Pillow decodes 8 of 16 bits
_DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")


@dataclass(frozen=True)
class _Header:
    """Header of an image file."""

    path: Path
    size: tuple[int, int]  # columns, rows
    mode: str
    transparent: bool
    exif: int
    pictures: int
    deep_colour: bool

    @property
    def bits(self) -> int:
        return 16 if self.deep_colour or self.mode in _DEEP_MODES else 8

    @property
    def unpacked(self) -> int:
        """Bytes of the decoded pixels."""
        return self.size[0] * self.size[1] * len(ImageMode.getmode(self.mode).bands) * self.bits // 8


def natural_key(path: Path) -> tuple[tuple[bool, int, str], ...]:
    """Sort key under which ``frame_2.png`` comes before ``frame_10.png``."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)


def _too_large(path: Path) -> SweepError:
    return SweepError(f"{path.name}: has more than {MAX_FRAME_PIXELS:,} pixels; export it at the scanner's size")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open the image in ``path``, with Pillow's errors as a SweepError."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_FRAME_PIXELS:
                raise _too_large(path)
            yield image
    except UnidentifiedImageError:
        raise SweepError(f"{path.name}: is not a PNG or JPEG image; export the frame again") from None
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except PermissionError:
        raise SweepError(f"{path.name}: not readable; change the file's permissions") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        raise SweepError(f"{path.name}: the image is damaged ({error}); copy or export it again") from None


def _exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation of an image; upright if it is missing or invalid."""
    try:
        orientation = image.getexif().get(_ORIENTATION, UPRIGHT)
    except (SyntaxError, ValueError, struct.error, OSError):  # damaged metadata; the image can be intact
        return UPRIGHT
    return orientation if orientation in range(1, 9) else UPRIGHT


def _is_deep_colour(path: Path, kind: str | None) -> bool:
    """Whether a PNG has colour or transparency with 16 bits (PNG 1.2, section 11.2.2: depth and colour type)."""
    if kind != "PNG":
        return False
    with open(path, "rb") as file:
        depth, colour = file.read(26)[24:]
    return depth == 16 and colour in _DEEP_COLOUR


def _header(path: Path) -> _Header:
    with _opened(path) as image:
        transparent = "transparency" in image.info or "A" in image.getbands()
        pictures = getattr(image, "n_frames", 1)
        if pictures > 1 and image.format == "PNG":
            raise SweepError(
                f"{path.name}: is an animation of {pictures} frames (APNG); export them as single files or .mha"
            )
        deep = _is_deep_colour(path, image.format)
        return _Header(path, image.size, image.mode, transparent, _exif_orientation(image), pictures, deep)


def _deep_grey(path: Path) -> np.ndarray:
    """Decoded pixels of a PNG of 16 bits with colour or transparency, as uint16 [H, W]."""
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise SweepError(f"{path.name}: the image is damaged; copy or export it again")
    if pixels.ndim == 2:
        return pixels
    return np.rint(luma(pixels[..., 2::-1])).astype(np.uint16)  # OpenCV decodes to blue, green, red


def _grey_frame(header: _Header) -> np.ndarray:
    """Decoded pixels [H, W], upright; uint8, or wider for deeper images."""
    path = header.path
    with _opened(path) as image:
        if header.deep_colour:
            image.verify()  # OpenCV does not check checksums
            pixels = _deep_grey(path)
        else:
            if image.mode == "1":
                image = image.convert("L")
            elif image.mode not in (*_GREY_MODES, "RGB", "RGBA"):
                image = image.convert("RGB")  # palette, CMYK
            pixels = np.asarray(image)
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[2] == 2 else luma(pixels)
    return upright(pixels, header.exif)


def _slabs(headers: Sequence[_Header]) -> Iterator[np.ndarray]:
    for header in headers:
        yield _grey_frame(header)[None]


def open_images(paths: Sequence[Path], name: str) -> OpenImage:
    """Open image files as the frames of a sweep, in the given order. Their dpi are ignored: no spacing.

    Args:
        paths: one file per frame.
        name: what the user named, for messages.

    Raises:
        SweepError: when a file is not an image, or they differ in size or depth.
    """
    headers = [_header(path) for path in paths]
    first = headers[0]
    for other in headers[1:]:
        if other.size != first.size:
            raise SweepError(
                f"{name}: frames of different sizes, {first.path.name} is {first.size[0]} x {first.size[1]} and "
                f"{other.path.name} {other.size[0]} x {other.size[1]}; keep one sweep in one folder"
            )
        if other.bits != first.bits:
            raise SweepError(
                f"{name}: frames of different depth, {first.path.name} has {first.bits} bits and "
                f"{other.path.name} {other.bits}; export all frames alike"
            )
        if other.exif != first.exif:
            raise SweepError(
                f"{name}: frames turned differently by EXIF, {first.path.name} has orientation {first.exif} and "
                f"{other.path.name} {other.exif}; export all frames alike"
            )
    check_unpacked_size(
        name, sum(header.unpacked for header in headers), sum(path.stat().st_size for path in paths)
    )
    notes = []
    if any(header.mode not in _GREY_MODES for header in headers):
        notes.append(LUMA_NOTE)
    if any(header.transparent for header in headers):
        notes.append(ALPHA_NOTE)
    if first.exif != UPRIGHT:
        notes.append(f"frames turned upright by EXIF orientation {first.exif}; masks lie on the pixels as stored")
    several = [header for header in headers if header.pictures > 1]
    if several:
        notes.append(f"{several[0].path.name} holds {several[0].pictures} pictures (MPO): the first is read")
    shape = stored_shape((len(headers), first.size[1], first.size[0]), first.exif)
    pixels = Pixels(shape, lambda: _slabs(headers), tuple(notes))
    return OpenImage(pixels, Grid(dimensions=2 if len(headers) == 1 else 3, exif=first.exif), None)


def image_files(folder: Path) -> list[Path]:
    """Image files directly inside ``folder``, in natural order, without hidden files."""
    paths = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted((path for path in paths if path.is_file() and not path.name.startswith(".")), key=natural_key)
