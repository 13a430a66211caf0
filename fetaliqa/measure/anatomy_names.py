"""Names of the anatomies in other software: recognises the class of a segmentation by its name.

Names are compared after Unicode compatibility normalization (NFKC) and case folding, without spaces, punctuation
and underscores. A name matches an anatomy when it is one of ``NAMES``, optionally preceded by a word for the fetus
and followed by a word for an outline and the grade of the plane. A partial match does not count: "abdominal wall"
and "forehead" are other classes.
"""

from __future__ import annotations

import re
import unicodedata

from fetaliqa.measure.anatomy import Anatomy

NAMES = {
    "abdomen": ("abdomen", "abdominal", "abdominal circumference", "abdomen circumference", "abd", "AC"),
    "head": ("head", "head circumference", "HC"),
    "femur": ("femur", "femoral", "femur length", "femoral length", "thigh bone", "FL"),
}
"""Names of each anatomy. "Skull" and "brain" are not the head: their outlines differ."""

FETUS = ("fetal", "foetal", "fetus", "foetus")
OUTLINES = ("mask", "outline", "contour", "segmentation", "region", "plane")
IGNORED = ("ignore", "ignored", "ignore region", "ignored region", "ignore area", "void", "dont care")
BACKGROUND = ("background", "bg")
UNCONFIRMED = "proposed"  # suffix of unconfirmed classes in this software's exports
_GRADE = "suboptimal|optimal"


def matches(name: str, anatomy: Anatomy | str) -> bool:
    """Whether a class of this name is the anatomy.

    Args:
        name: of a class, segment or category.
        anatomy: or its name, such as ``abdomen``.
    """
    return stem_of(name, anatomy) is not None


def stem_of(name: str, anatomy: Anatomy | str) -> str | None:
    """The normalized name without its grade; None when it is not the anatomy.

    A grade alone ("suboptimal") means the abdomen, the only anatomy whose planes are graded.
    """
    key = anatomy if isinstance(anatomy, str) else anatomy.name
    plain = _plain(name).removesuffix(UNCONFIRMED)
    graded = re.fullmatch(rf"({_GRADE})(?:plane)?", plain)
    if graded:
        return _plain(NAMES["abdomen"][0]) if key == "abdomen" else None
    plain = re.sub(rf"^(?:{_GRADE})|(?:{_GRADE})(?:plane)?$", "", plain)
    names = "|".join(sorted(map(_plain, NAMES.get(key, (key,))), key=len, reverse=True))
    match = re.fullmatch(rf"(?:{'|'.join(FETUS)})?({names})(?:{'|'.join(OUTLINES)})?", plain)
    return match[1] if match else None


def grade_of(name: str) -> str | None:
    """The grade of a plane in a class name, ``optimal`` or ``suboptimal``; None when there is none."""
    plain = _plain(name)
    if "suboptimal" in plain:
        return "suboptimal"
    return "optimal" if re.search(r"(?<!non)(?<!not)(?<!un)optimal", plain) else None


def is_ignored(name: str) -> bool:
    """Whether a class of this name marks pixels without a reference label."""
    return _plain(name) in set(map(_plain, IGNORED))


def is_background(name: str) -> bool:
    """Whether a class of this name is the background."""
    return _plain(name) in set(map(_plain, BACKGROUND))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
