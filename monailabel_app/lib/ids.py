"""Names that come from clients: which are accepted, and why the others are not.

Image ids, label tags and session ids become parts of file paths in MONAI Label. One narrow grammar keeps
every one of them a single harmless path component.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from monailabel_app.lib.refusal import Refused

ID_GRAMMAR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MAX_ID_LENGTH = 200  # characters; file systems allow 255 bytes including the suffix
_SHOWN = 80  # characters of a refused value repeated in the answer


def is_id(value: object) -> bool:
    """True when ``value`` can be an image id, a tag or a session id."""
    return (
        isinstance(value, str)
        and len(value) <= MAX_ID_LENGTH
        and ".." not in value
        and ID_GRAMMAR.fullmatch(value) is not None
    )


def check_id(kind: str, value: object) -> str:
    """Return ``value`` when it is an acceptable id.

    Raises:
        Refused: 400, naming the kind of id and the value.
    """
    if not is_id(value):
        shown = repr(value)[:_SHOWN]
        raise Refused(
            400,
            f"{kind} {shown} is not accepted: use letters, digits, dot, underscore and hyphen, starting with a "
            f"letter or digit, without '..' (at most {MAX_ID_LENGTH} characters)",
        )
    return str(value)


def check_known(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` when it is among ``known``.

    Raises:
        Refused: 404, naming what is known.
    """
    names = sorted(known)
    if name not in names:
        raise Refused(404, f"there is no {kind} {name[:_SHOWN]!r} here; known: {', '.join(names) or 'none'}")
    return name
