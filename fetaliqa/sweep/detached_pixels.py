"""Detached pixel files of a header (MetaIO, NRRD): one file, a list, or a numbered pattern."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from fetaliqa.errors import SweepError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors write it at the beginning of UTF-8 text
MAX_NAME = 4096  # characters
MAX_FILES = 100_000
_LIST = re.compile(r"LIST(\s+\d+)?", re.IGNORECASE)
# pattern; first, last, step, optionally the number of dimensions of one file
_NUMBERED = re.compile(r"(.*?%.*?)((?:\s+-?\d+){3,4})")
_CONVERSION = re.compile(r"%(0?)(\d{0,2})([diuxXob])")


def text_of(raw: bytes) -> str:
    """A header's bytes as UTF-8 text; invalid bytes are kept as surrogate escapes."""
    return raw.decode("utf-8", "surrogateescape")


def is_list(written: str) -> bool:
    """Whether a header declares that file names follow, one per line."""
    return _LIST.fullmatch(written) is not None


def pixel_files(header: Path, written: str, names: Sequence[str], frames: int) -> list[Path]:
    """The pixel files of a header: one for all frames, or one for each frame.

    Args:
        header: the header file; pixel files must be in or below its folder.
        written: value of the header field: a name, a pattern such as ``frame%03d.raw`` (numbered from 1 in MetaIO,
            or followed by first, last and step), or ``LIST``.
        names: lines after the header, for ``LIST``.
        frames: number of frames in the header; 0 if unknown.

    Raises:
        SweepError: when a file does not exist or is in another folder, or the number of files and frames differ.
    """
    if is_list(written):
        listed = [name.strip() for name in names if name.strip()]
    elif "%" not in written:
        return [data_file_beside(header, written)]
    else:
        with contextlib.suppress(SweepError):  # % may be part of the name
            return [data_file_beside(header, written)]
        listed = _by_pattern(header, written, frames)
    if not listed or len(listed) > MAX_FILES or (frames and len(listed) != frames):
        raise SweepError(
            f"{header.name}: names {len(listed)} pixel files for {frames} frames; "
            "correct the header, or export it as one .mha"
        )
    return [data_file_beside(header, name) for name in listed]


def _by_pattern(header: Path, written: str, frames: int) -> list[str]:
    """Names from a pattern with one number.

    Raises:
        SweepError: when it is not a pattern.
    """
    numbered = _NUMBERED.fullmatch(written) if len(written) <= MAX_NAME else None
    pattern, numbers = written, range(1, frames + 1)
    if numbered:
        pattern = numbered[1]
        first, last, step = (int(word) for word in numbered[2].split()[:3])
        numbers = range(first, last + (1 if step > 0 else -1), step) if step else range(0)
    parts = _CONVERSION.split(pattern)
    if len(parts) != 5 or "%" in parts[0] + parts[4] or len(numbers) > MAX_FILES:
        raise SweepError(
            f"{header.name}: its pixel file {written[:60]!r} does not exist; SimpleITK takes the % in a name for "
            "the place of a number and writes frames over each other: write the sweep again under a name without %"
        )
    return [parts[0] + _formatted(number, *parts[1:4]) + parts[4] for number in numbers]


def _formatted(number: int, zero: str, width: str, kind: str) -> str:
    """Format a number like C's printf."""
    return format(number, f"{zero or '>'}{width}{'d' if kind in 'iu' else kind}")


def _spellings(written: str) -> list[str]:
    """A file name of a header, also decoded with the encodings of older Windows programs."""
    raw = written.encode("utf-8", "surrogateescape")
    names = [written]
    for encoding in ("cp1252", "latin-1"):
        with contextlib.suppress(UnicodeDecodeError):
            names.append(raw.decode(encoding))
    names += [unicodedata.normalize(form, text) for text in names for form in ("NFC", "NFD")]
    return list(dict.fromkeys([*names, *(text.replace("\\", "/") for text in names)]))


def data_file_beside(header: Path, written: str) -> Path:
    """Path of a header's data file, which must be in or below the header's folder.

    The name is tried as written, in other encodings, and with backslashes as separators.

    Raises:
        SweepError: when it is in another folder or does not exist.
    """
    folder = header.parent.resolve()
    outside = False
    for spelling in _spellings(written[:MAX_NAME]):
        try:
            path = (folder / spelling).resolve()
            inside = path.is_relative_to(folder)
            if inside and path.is_file():
                return path
        except ValueError:  # a zero byte in the name
            raise SweepError(
                f"{header.name}: names its pixel file as {written[:60]!r}; correct the file's header"
            ) from None
        except OSError:  # too long for the file system
            inside = True
        outside = outside or not inside
    if outside:
        raise SweepError(
            f"{header.name}: names its pixel file as {written[:60]!r}, outside of its own folder; "
            "put both files into one folder"
        )
    raise SweepError(f"{header.name}: its pixel file {written[:60]!r} does not exist; keep both files together")
