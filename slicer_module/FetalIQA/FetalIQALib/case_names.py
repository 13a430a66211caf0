"""Names of cases: any file name on the server may be one, but not all are valid file names on this computer."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from FetalIQALib.client_errors import FetalIQAError
from FetalIQALib.translation import _

MAX_BYTES = 200  # in UTF-8, as on the server
_JOINERS = "\u200c\u200d"
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_DIGITS = 32


def is_case(text: str) -> bool:
    """Whether a text is a valid case name (docs/formats.md, "Names"): one path component, one line of text."""
    return (
        bool(text)
        and all(map(_usable, text))
        and text[0] not in ".-"
        and text == text.strip()
        and ".." not in text
        and len(text.encode()) <= MAX_BYTES
    )


def _usable(character: str) -> bool:
    space = unicodedata.category(character) == "Zs"
    return (character.isprintable() or space or character in _JOINERS) and character not in "/\\"


def checked_case(text: str) -> str:
    """Validate the name of a case.

    Raises:
        FetalIQAError: if it is not a valid case name.
    """
    if not is_case(text):
        raise FetalIQAError(_("{text!r} is not a valid case name.").format(text=text[:60]))
    return text


def file_stem(case: str) -> str:
    """File name stem of a case on this computer, unique for each case on every file system.

    A plain lower-case name is used as it is. Others become a digest, since file systems may ignore case, forbid
    characters or normalize Unicode.
    """
    if _PLAIN.fullmatch(case) and ".." not in case:
        return case
    return f"={hashlib.sha256(case.encode()).hexdigest()[:_DIGITS]}"
