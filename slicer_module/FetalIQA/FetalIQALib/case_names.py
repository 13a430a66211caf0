"""Names of cases: any file's name on the server can be one, and few of them are good names on this computer."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from FetalIQALib.failures import Failure
from FetalIQALib.texts import _

MAX_BYTES = 200  # in UTF-8, as on the server
_JOINERS = "\u200c\u200d"
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_DIGITS = 32


def is_case(text: str) -> bool:
    """Whether the server would call a case so (docs/formats.md, "Names"): one part of a path, one line of text."""
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
    """The name of a case, as a server may give it.

    Raises:
        Failure: when it is none.
    """
    if not is_case(text):
        raise Failure(_("Case {text!r}: no name that a server gives to a case.").format(text=text[:60]))
    return text


def file_stem(case: str) -> str:
    """What files of a case are called on this computer: two cases are never one name, whatever its disk takes.

    A plain name in lower case stays as it is; of every other, disks may make another's (upper case on Windows and
    Macs, colons, letters in two forms), so it becomes a digest.
    """
    if _PLAIN.fullmatch(case) and ".." not in case:
        return case
    return f"={hashlib.sha256(case.encode()).hexdigest()[:_DIGITS]}"
