"""Files that a header names for its pixels: one, a list of them, or a pattern with numbers (MetaIO, NRRD)."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from fetaliqa.errors import SweepError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors begin UTF-8 text with it
MAX_NAME = 4096  # characters
MAX_FILES = 100_000
_LIST = re.compile(r"LIST(\s+\d+)?", re.IGNORECASE)
# pattern; first, last, step, perhaps the number of dimensions of one file
_NUMBERED = re.compile(r"(.*?%.*?)((?:\s+-?\d+){3,4})")
_CONVERSION = re.compile(r"%(0?)(\d{0,2})([diuxXob])")


def text_of(raw: bytes) -> str:
    """A header's bytes as text: UTF-8, in which other bytes are kept as the file system keeps them."""
    return raw.decode("utf-8", "surrogateescape")


def is_list(written: str) -> bool:
    """Whether a header says that the names of several files follow it, one a line."""
    return _LIST.fullmatch(written) is not None


def pixel_files(header: Path, written: str, names: Sequence[str], frames: int) -> list[Path]:
    """The files that hold the pixels of a header: one of all frames, or one for each frame.

    Args:
        header: the file that names them, in or below whose folder they must lie.
        written: what it says: a name, a pattern such as ``frame%03d.raw`` (from 1, as MetaIO writes it, or
            followed by first, last and step), or ``LIST``.
        names: lines after the header, for ``LIST``.
        frames: number of frames by the header; 0 when that is not known.

    Raises:
        SweepError: when a file does not exist or lies elsewhere, or there are more or fewer than frames.
    """
    if is_list(written):
        listed = [name.strip() for name in names if name.strip()]
    elif "%" not in written:
        return [data_file_beside(header, written)]
    else:
        with contextlib.suppress(SweepError):  # % is a letter of its name
            return [data_file_beside(header, written)]
        listed = _by_pattern(header, written, frames)
    if not listed or len(listed) > MAX_FILES or (frames and len(listed) != frames):
        raise SweepError(
            f"{header.name}: names {len(listed)} files for its pixels, and has {frames} frames by its header; "
            "correct the header, or export it as one .mha"
        )
    return [data_file_beside(header, name) for name in listed]


def _by_pattern(header: Path, written: str, frames: int) -> list[str]:
    """Names by a pattern of one number.

    Raises:
        SweepError: when it is none.
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
    """As C's printf does it."""
    return format(number, f"{zero or '>'}{width}{'d' if kind in 'iu' else kind}")


def _spellings(written: str) -> list[str]:
    """A file name of a header, and how it reads in the encodings of older Windows programs."""
    raw = written.encode("utf-8", "surrogateescape")
    found = [written]
    for encoding in ("cp1252", "latin-1"):
        with contextlib.suppress(UnicodeDecodeError):
            found.append(raw.decode(encoding))
    found += [unicodedata.normalize(form, text) for text in found for form in ("NFC", "NFD")]
    return list(dict.fromkeys([*found, *(text.replace("\\", "/") for text in found)]))


def data_file_beside(header: Path, written: str) -> Path:
    """Return the path of a data file that a header names, which must lie in or below the header's folder.

    The name is looked for as it is written, in other encodings of its letters, and with backslashes as
    separators.

    Raises:
        SweepError: when it lies elsewhere or does not exist.
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
