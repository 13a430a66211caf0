"""Checks of names that come from clients.

Image ids, label tags and session ids become parts of file paths in MONAI Label. Each is a single harmless path
component: an image id by the rules of ``fetaliqa.case_names``, which allow all languages; everything else by a
narrow grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fetaliqa.case_names import name_problem
from monailabel_app.lib.http.refusal import Refused

ID_GRAMMAR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MAX_ID_LENGTH = 200  # characters; file systems allow 255 bytes including the suffix
IMAGE_KINDS = ("image", "label", "id")  # names of parameters; a label's id is its image's
_SHOWN = 80  # characters of a refused value repeated in the answer


def is_id(value: object) -> bool:
    """True when ``value`` can be a tag, a session id or another name that is no image's."""
    return (
        isinstance(value, str)
        and len(value) <= MAX_ID_LENGTH
        and ".." not in value
        and ID_GRAMMAR.fullmatch(value) is not None
    )


def check_id(kind: str, value: object) -> str:
    """Return ``value`` when it is an acceptable id.

    Args:
        kind: of the id; those in ``IMAGE_KINDS`` may have letters of all languages.
        value: the id.

    Raises:
        Refused: 400, naming the kind of id and the value.
    """
    if kind in IMAGE_KINDS:
        problem = name_problem(value)
        if problem is not None:
            raise Refused(400, f"{kind} {ascii(value)[:_SHOWN]} is not accepted: it {problem}")
        return str(value)
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
        Refused: 404, listing the known names.
    """
    names = sorted(known)
    if name not in names:
        raise Refused(404, f"there is no {kind} {name[:_SHOWN]!r} here; known: {', '.join(names) or 'none'}")
    return name
