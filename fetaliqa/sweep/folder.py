"""Plain images (PNG, JPEG): one image as a sweep of one frame, or a folder of frames as a sweep."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fetaliqa.errors import SweepError
from fetaliqa.sweep.pixels import ALPHA_NOTE, LUMA_NOTE, Pixels, luma
from fetaliqa.sweep.types import Grid
from fetaliqa.sweep.volume import OpenImage

MAX_FRAME_PIXELS = 64_000_000  # 8000 x 8000; scanners export about 1 million. A few KB of PNG can hold more
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")
_GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")


@dataclass(frozen=True)
class _Header:
    """What an image file says about itself before its pixels are decoded."""

    path: Path
    size: tuple[int, int]  # columns, rows
    mode: str
    transparent: bool

    @property
    def bits(self) -> int:
        return 16 if self.mode in _DEEP_MODES else 8


def natural_key(path: Path) -> tuple[tuple[bool, int, str], ...]:
    """Sort key under which ``frame_2.png`` comes before ``frame_10.png``."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)


def _too_large(path: Path) -> SweepError:
    return SweepError(f"{path.name}: has more than {MAX_FRAME_PIXELS:,} pixels; export it at the scanner's size")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image in ``path``; Pillow's complaints become a SweepError."""
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
        raise SweepError(f"{path.name}: may not be read; change the file's permissions") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        raise SweepError(f"{path.name}: the image is damaged ({error}); copy or export it again") from None


def _header(path: Path) -> _Header:
    with _opened(path) as image:
        transparent = "transparency" in image.info or "A" in image.getbands()
        return _Header(path, image.size, image.mode, transparent)


def _grey_frame(path: Path) -> np.ndarray:
    """Decoded pixels [H, W]; uint8, or wider for deeper images."""
    with _opened(path) as image:
        if image.mode == "1":
            image = image.convert("L")
        elif image.mode not in (*_GREY_MODES, "RGB", "RGBA"):
            image = image.convert("RGB")  # palette, CMYK
        pixels = np.asarray(image)
    if pixels.ndim == 2:
        return pixels
    return pixels[..., 0] if pixels.shape[2] == 2 else luma(pixels)


def _slabs(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    for path in paths:
        yield _grey_frame(path)[None]


def open_images(paths: Sequence[Path], name: str) -> OpenImage:
    """Open image files as the frames of a sweep, in the given order. Their dpi say nothing: no spacing.

    Args:
        paths: one file per frame.
        name: what the user named, for messages.

    Raises:
        SweepError: when a file is no image, or they differ in size or depth.
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
    notes = []
    if any(header.mode not in _GREY_MODES for header in headers):
        notes.append(LUMA_NOTE)
    if any(header.transparent for header in headers):
        notes.append(ALPHA_NOTE)
    width, height = first.size
    pixels = Pixels((len(headers), height, width), lambda: _slabs(paths), tuple(notes))
    return OpenImage(pixels, Grid(dimensions=2 if len(headers) == 1 else 3), None)


def image_files(folder: Path) -> list[Path]:
    """Image files directly inside ``folder``, in natural order; hidden files are left out."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted((path for path in found if path.is_file() and not path.name.startswith(".")), key=natural_key)
