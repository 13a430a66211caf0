"""Case names: which names a studies folder accepts, and how any name is displayed and stored.

A case is named after its file. File systems accept nearly any bytes as a name; fewer names can be typed, sent in a
URL and distinguished from one another. The rules are in docs/formats.md, "Names".
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable

UNFINISHED = ".unfinished"  # folder of results that are still being written
MAX_FILE_NAME_BYTES = 255  # of common file systems
MAX_NAME_BYTES = 200
"""Longest name of a case, in bytes of UTF-8. File systems allow 255; the rest is for suffixes, frame numbers and
times."""

_REPLACED = "\N{REPLACEMENT CHARACTER}"
_JOINERS = "\u200c\u200d"  # between letters of Persian, Indic scripts and in emoji: spelling, not layout
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # on every file system and in every program
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_DIGEST_DIGITS = 8


def name_problem(name: object) -> str | None:
    """Why ``name`` cannot name a case of a studies folder, as the second half of a sentence; None when it can.

    Such a name is one harmless part of a path, one line of printable characters, and looks like no other name but
    those that differ in Unicode's form or in upper and lower case.

    Examples:
        >>> name_problem("sweep 3 (Größe)") is None
        True
        >>> name_problem("../secret")
        'contains a slash'
    """
    if not isinstance(name, str) or not name:
        return "is empty"
    unusable = next((character for character in name if not _usable(character)), None)
    if unusable is not None:
        return _character_problem(unusable)
    if name[0] in ".-":
        return f"begins with {name[0]!r}"
    if name != name.strip():
        return "begins or ends with a space"
    if ".." in name:
        return "contains '..'"
    size = len(name.encode())
    return f"is {size} bytes long in UTF-8, more than {MAX_NAME_BYTES}" if size > MAX_NAME_BYTES else None


def is_case_name(name: object) -> bool:
    """Whether ``name`` can name a case of a studies folder, see :func:`name_problem`."""
    return name_problem(name) is None


def _usable(character: str) -> bool:
    # isprintable excludes every space but U+0020; others are common (U+3000 in Chinese and Japanese names)
    printable = character.isprintable() or unicodedata.category(character) == "Zs" or character in _JOINERS
    return printable and character not in "/\\"


def _character_problem(character: str) -> str:
    code = f"U+{ord(character):04X}"
    if character in "/\\":
        return f"contains {'a slash' if character == '/' else 'a backslash'}"
    if unicodedata.category(character) == "Cs":
        return "is not written in UTF-8"
    if unicodedata.category(character) == "Cc":
        return f"contains a control character ({code})"
    return f"contains a character that cannot be seen or is not known ({code})"


def canonical(name: str) -> str:
    """The NFC form of a name: equal for names that differ in Unicode normalization only (macOS stores NFD)."""
    return unicodedata.normalize("NFC", name)


def printable(text: str) -> str:
    """Text as one line for terminals, logs and tables; other characters are escaped as in ``repr``."""
    return "".join(map(_escaped, text)) if not text.isprintable() else text


def _escaped(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs" or character in _JOINERS:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def case_name(name: str) -> str:
    """The case name of a file or folder of this name (without suffix).

    The name itself, with U+FFFD for characters that cannot be displayed and bytes that are not UTF-8. A case name
    can always be printed and encoded, and is never ``.`` or ``..``.
    """
    text = "".join(character if _usable(character) else _REPLACED for character in name)
    return _REPLACED * len(text) if text.strip(".") == "" else text


def fitting(name: str, room: int) -> str:
    """``name`` if it takes at most ``room`` bytes in UTF-8; else its beginning and a digest of the whole name."""
    encoded = name.encode()
    if len(encoded) <= room:
        return name
    beginning = encoded[: room - _DIGEST_DIGITS - 1].decode(errors="ignore")
    return f"{beginning}-{_digest(name)}"


def file_names(cases: Iterable[str], *, ascii_only: bool = False) -> dict[str, str]:
    """A portable file name for each case; no two differ in upper and lower case or Unicode normalization only.

    The case name where it is portable; else the name with ``_`` for unsafe characters, and a digest of the name.

    Args:
        cases: names.
        ascii_only: for formats that accept only letters, digits, dot, underscore and hyphen.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for case in sorted(cases):
        folded = canonical(case).casefold()
        name = case
        if folded in taken or not (_SAFE.fullmatch(case) if ascii_only else _portable(case)):
            pattern = _UNSAFE if ascii_only else _FORBIDDEN
            name = f"{pattern.sub('_', canonical(case)).strip('. _') or 'case'}-{_digest(case)}"
        taken.add(folded)
        names[case] = name
    return names


_FORBIDDEN = re.compile(r'[<>:"|?*/\\\x00-\x1f]')  # in file names of Windows, FAT and exFAT
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # Windows opens a device instead


def _portable(name: str) -> bool:
    return _FORBIDDEN.search(name) is None and name == name.strip(". ") and _DEVICES.fullmatch(name) is None


def _digest(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:_DIGEST_DIGITS]
