"""What people call the outlined anatomy in other software: which class of a segmentation is it, by its name.

Names are compared after Unicode compatibility folding and case folding, without spaces, punctuation and
underscores. A name is the anatomy when it is one of ``NAMES``, maybe with a word for the fetus before it, a word
for an outline behind it, and the grade of the plane. Anything else is another class: a part of a name is not
enough, so that "abdominal wall" and "forehead" are not taken.
"""

from __future__ import annotations

import re
import unicodedata

from fetaliqa.measure.anatomy import Anatomy

NAMES = {
    "abdomen": ("abdomen", "abdominal", "abdominal circumference", "abdomen circumference", "abd", "AC"),
    "head": ("head", "head circumference", "HC"),
}
"""By the name of the anatomy. "Skull" and "brain" are not the head: their outlines differ."""

FETUS = ("fetal", "foetal", "fetus", "foetus")
OUTLINES = ("mask", "outline", "contour", "segmentation", "region", "plane")
IGNORED = ("ignore", "ignored", "ignore region", "ignored region", "ignore area", "void", "dont care")
BACKGROUND = ("background", "bg")
UNCONFIRMED = "proposed"  # at the end of a class that nobody confirmed, as exports of this software name it
_GRADE = "suboptimal|optimal"


def matches(name: str, anatomy: Anatomy | str) -> bool:
    """Whether a class of this name is the anatomy.

    Args:
        name: of a class, segment or category.
        anatomy: or its name, such as ``abdomen``.
    """
    return stem_of(name, anatomy) is not None


def stem_of(name: str, anatomy: Anatomy | str) -> str | None:
    """The name without grade, as compared here; None when it is not the anatomy.

    A grade alone ("suboptimal") is the abdomen, the only anatomy whose planes are graded.
    """
    key = anatomy if isinstance(anatomy, str) else anatomy.name
    plain = _plain(name).removesuffix(UNCONFIRMED)
    graded = re.fullmatch(rf"({_GRADE})(?:plane)?", plain)
    if graded:
        return _plain(NAMES["abdomen"][0]) if key == "abdomen" else None
    plain = re.sub(rf"^(?:{_GRADE})|(?:{_GRADE})(?:plane)?$", "", plain)
    names = "|".join(sorted(map(_plain, NAMES.get(key, (key,))), key=len, reverse=True))
    found = re.fullmatch(rf"(?:{'|'.join(FETUS)})?({names})(?:{'|'.join(OUTLINES)})?", plain)
    return found[1] if found else None


def grade_of(name: str) -> str | None:
    """The grade of a plane, ``optimal`` or ``suboptimal``, that a class name tells; None when it tells none."""
    plain = _plain(name)
    if "suboptimal" in plain:
        return "suboptimal"
    return "optimal" if re.search(r"(?<!non)(?<!not)(?<!un)optimal", plain) else None


def is_ignored(name: str) -> bool:
    """Whether a class of this name marks pixels of which nothing is known."""
    return _plain(name) in set(map(_plain, IGNORED))


def is_background(name: str) -> bool:
    """Whether a class of this name is no structure."""
    return _plain(name) in set(map(_plain, BACKGROUND))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
